"""What an output says about itself: an XMP packet for pictures, metadata tags for video containers.

The digital source type is the IPTC's `compositeWithTrainedAlgorithmicMedia` (NewsCodes "Digital Source Type",
http://cv.iptc.org/newscodes/digitalsourcetype/), for every swapper: see `docs/decisions.md`. It replaces
whatever the input said of itself, and never says less than that.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_CV = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = _CV + "compositeWithTrainedAlgorithmicMedia"
"""What every output says it is."""

_X = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XML = "http://www.w3.org/XML/1998/namespace"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_MM = "http://ns.adobe.com/xap/1.0/mm/"
_EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
_DC = "http://purl.org/dc/elements/1.1/"
_PREFIXES = {
    _X: "x",
    _RDF: "rdf",
    _XML: "xml",
    _IPTC: "Iptc4xmpExt",
    _MM: "xmpMM",
    _EVENT: "stEvt",
    _DC: "dc",
}

_ABOUT = f"{{{_RDF}}}about"
_TYPE = f"{{{_IPTC}}}DigitalSourceType"
_HISTORY = f"{{{_MM}}}History"
_STALE = frozenset(
    {
        "{http://ns.adobe.com/xap/1.0/}Thumbnails",
        "{http://ns.adobe.com/xmp/note/}HasExtendedXMP",
        "{http://ns.google.com/photos/1.0/container/}Directory",
    }
)
"""Properties that an edited file must not keep: a thumbnail of the old face, and claims about data behind
the picture (extended packets, motion photo, gain map) that no output carries."""
_STALE_SPACES = ("{http://ns.google.com/photos/1.0/camera/}M", "{http://ns.adobe.com/hdr-gain-map/1.0/}")

JPEG_LIMIT = 65_502
"""Bytes of XMP that fit into one JPEG segment (XMP specification part 3, 1.1.3)."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What was done, in the words that go into the file."""

    version: str
    """Version of mien."""
    changes: tuple[str, ...]
    """What was changed, such as "face replaced (mesh)"."""

    @property
    def agent(self) -> str:
        """The software and its version."""
        return f"mien {self.version}"

    @property
    def text(self) -> str:
        """One sentence for people."""
        return f"edited with {self.agent}" + (f": {'; '.join(self.changes)}" if self.changes else "")


def xmp(edit: Edit, existing: bytes = b"", *, limit: int = JPEG_LIMIT) -> bytes:
    """XMP packet of the result, UTF-8: the input's packet with the edit written into it.

    Everything of the input's packet stays, but for `_STALE` and the old source type, which only steers the
    new one. Without a readable packet it begins from nothing. No time is written, so that a continued run
    ends in the same bytes.

    Args:
        edit: What was done.
        existing: The input's packet, or nothing.
        limit: Most bytes; above it the input's largest properties go, one after the other. 0 for no limit.
    """
    root, names = _parse(existing)
    rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    if rdf is None:
        rdf = ET.SubElement(root, f"{{{_RDF}}}RDF")
    bodies = rdf.findall(f"{{{_RDF}}}Description")
    _drop_stale(bodies)
    body = ET.SubElement(rdf, f"{{{_RDF}}}Description", {_ABOUT: bodies[0].get(_ABOUT, "") if bodies else ""})
    ET.SubElement(body, _TYPE).text = SOURCE_TYPE
    kept = [body, _history(bodies, body, edit)]
    if not any(b.find(f"{{{_DC}}}description") is not None for b in bodies):
        kept.append(_description(body, edit.text))
    packet = _packet(root, names)
    while limit and len(packet) > limit and _drop_largest(bodies, kept):
        packet = _packet(root, names)
    return packet


def digital_source_type(packet: bytes) -> str | None:
    """The IPTC digital source type an XMP packet claims, as it is written there."""
    root, _ = _parse(packet)
    for element in root.iter():
        value = element.text if element.tag == _TYPE else element.get(_TYPE)
        if value and value.strip():
            return value.strip()
    return None


def metadata(
    edit: Edit,
    existing: Mapping[str, str] | None = None,
    container: Literal["mp4", "mov", "mkv", "webm"] = "mp4",
) -> dict[str, str]:
    """Metadata tags of a video file, the input's own included.

    MP4 and QuickTime keep only the tags they know, so the sentence goes into `comment`, after what stands
    there. Matroska and WebM keep any name, so the source type has one of its own too. `encoder` is the
    muxer's and is left alone.

    Args:
        edit: What was done.
        existing: The input's tags, lower or upper case.
        container: FFmpeg's name of the container.
    """
    tags = dict(existing or {})
    key = next((k for k in tags if k.casefold() == "comment"), "comment")
    before = tags.get(key, "").strip()
    line = f"{edit.text} (digital source type: {SOURCE_TYPE})"
    tags[key] = f"{before}\n{line}" if before and line not in before else line
    if container in {"mkv", "webm"}:
        tags = {k: v for k, v in tags.items() if k.casefold() != "digital_source_type"}
        tags["DIGITAL_SOURCE_TYPE"] = SOURCE_TYPE
    return tags


def _parse(packet: bytes) -> tuple[ET.Element, dict[str, str]]:
    """Root and namespace prefixes of a packet; an empty one where it cannot be read."""
    names = dict(_PREFIXES)
    text = packet.strip(b"\0 \t\r\n")
    # XMP has no document type; one could only be an attack by entities.
    if text and b"<!DOCTYPE" not in text and b"<!ENTITY" not in text:
        try:
            events = ET.iterparse(io.BytesIO(text), events=("start-ns", "end"))
            taken, root = set(names.values()), None
            for event, item in events:
                if event == "start-ns":
                    prefix, uri = item
                    if uri not in names:
                        names[uri] = _fresh(prefix, taken)
                else:
                    root = item  # the last element to end is the root
            if isinstance(root, ET.Element) and root.tag in {f"{{{_X}}}xmpmeta", f"{{{_RDF}}}RDF"}:
                return root, names
        except (ET.ParseError, UnicodeError, LookupError, ValueError):
            names = dict(_PREFIXES)
    return ET.Element(f"{{{_X}}}xmpmeta"), names


def _fresh(prefix: str, taken: set[str]) -> str:
    """A prefix nobody has yet, remembered in `taken`."""
    name, n = prefix or "ns", 1
    while name in taken:
        name, n = f"{prefix or 'ns'}{n}", n + 1
    taken.add(name)
    return name


def _drop_stale(bodies: list[ET.Element]) -> None:
    """Take the source type and what is stale out of the packet."""
    for body in bodies:
        for name in [n for n in body.attrib if n == _TYPE or _is_stale(n)]:
            del body.attrib[name]
        for child in [c for c in body if c.tag == _TYPE or _is_stale(c.tag)]:
            body.remove(child)


def _is_stale(name: str) -> bool:
    return name in _STALE or name.startswith(_STALE_SPACES)


def _history(bodies: list[ET.Element], body: ET.Element, edit: Edit) -> ET.Element:
    """Add the edit to the list of what happened to the picture (XMP specification part 2, 3.2)."""
    found = next((h for b in bodies if (h := b.find(_HISTORY)) is not None), None)
    history = ET.SubElement(body, _HISTORY) if found is None else found
    steps = history.find(f"{{{_RDF}}}Seq")
    if steps is None:
        steps = ET.SubElement(history, f"{{{_RDF}}}Seq")
    event = {"action": "edited", "softwareAgent": edit.agent, "parameters": edit.text, "changed": "/"}
    ET.SubElement(
        steps,
        f"{{{_RDF}}}li",
        {f"{{{_RDF}}}parseType": "Resource"},
    ).extend(_text(f"{{{_EVENT}}}{name}", value) for name, value in event.items())
    return history


def _description(body: ET.Element, text: str) -> ET.Element:
    """A caption, where the picture has none of its own: the one field every viewer shows."""
    caption = ET.SubElement(body, f"{{{_DC}}}description")
    choices = ET.SubElement(caption, f"{{{_RDF}}}Alt")
    ET.SubElement(choices, f"{{{_RDF}}}li", {f"{{{_XML}}}lang": "x-default"}).text = text
    return caption


def _text(name: str, value: str) -> ET.Element:
    element = ET.Element(name)
    element.text = value
    return element


def _drop_largest(bodies: list[ET.Element], kept: list[ET.Element]) -> bool:
    """Remove the input's largest property; False when none is left."""
    sizes = [
        (len(ET.tostring(child)), body, child) for body in bodies for child in body if child not in kept
    ] + [(len(v), body, n) for body in bodies for n, v in body.attrib.items() if n != _ABOUT]
    if not sizes:
        return False
    _, body, victim = max(sizes, key=lambda row: row[0])
    if isinstance(victim, str):
        del body.attrib[victim]
    else:
        body.remove(victim)
    return True


def _packet(root: ET.Element, names: Mapping[str, str]) -> bytes:
    """The packet's bytes, with the prefixes readers look for literally.

    ElementTree keeps prefixes in a table of its whole process; so names are written as plain
    `prefix:name` on a copy, and the few namespaces in use are declared at the root.
    """
    used: dict[str, str] = {}

    def plain(name: str) -> str:
        if not name.startswith("{"):
            return name
        uri, local = name[1:].split("}", 1)
        used[uri] = names[uri]
        return f"{names[uri]}:{local}"

    def copy(element: ET.Element) -> ET.Element:
        twin = ET.Element(plain(element.tag), {plain(k): v for k, v in element.attrib.items()})
        twin.text, twin.tail = element.text, element.tail
        twin.extend(copy(child) for child in element)
        return twin

    top = copy(root)
    top.attrib = {f"xmlns:{p}": u for u, p in sorted(used.items()) if u != _XML} | top.attrib
    body = ET.tostring(top, encoding="unicode")
    head = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    return (head + body.strip() + '\n<?xpacket end="w"?>').encode()
