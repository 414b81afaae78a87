from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.trust.label import (
    SOURCE_TYPE,
    Edit,
    digital_source_type,
    metadata,
    xmp,
)

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
MM = "{http://ns.adobe.com/xap/1.0/mm/}"
EVENT = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"
DC = "{http://purl.org/dc/elements/1.1/}"
MESH = Edit("1.2.3", ("face replaced (mesh)",))
NEURAL = Edit("1.2.3", ("face replaced (inswapper)", "face enhanced"))

LIGHTROOM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:1"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
    xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" xmlns:x2="urn:mine"
    xmp:Rating="4" ext:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia">
   <dc:creator><rdf:Seq><rdf:li>Zoë &amp; Søn</rdf:li></rdf:Seq></dc:creator>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">The sea</rdf:li></rdf:Alt></dc:description>
   <x2:odd>kept</x2:odd>
   <xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType="Resource">
    <xmpGImg:image>OLDFACE</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>
   <xmpMM:History><rdf:Seq><rdf:li stEvt:action="derived"/></rdf:Seq></xmpMM:History>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def tree(packet: bytes) -> ET.Element:
    return ET.fromstring(packet.decode().lstrip("\ufeff"))


def test_a_new_packet_says_what_was_done() -> None:
    packet = xmp(NEURAL)
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith(b'<?xpacket end="w"?>')
    # Simple readers look for the literal prefix.
    assert f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>".encode() in packet
    text = "edited with mien 1.2.3: face replaced (inswapper); face enhanced"
    events = [{c.tag: c.text for c in li} for li in tree(packet).iterfind(f".//{MM}History/{RDF}Seq/{RDF}li")]
    assert events == [
        {
            f"{EVENT}action": "edited",
            f"{EVENT}softwareAgent": "mien 1.2.3",
            f"{EVENT}parameters": text,
            f"{EVENT}changed": "/",
        }
    ]
    assert [e.text for e in tree(packet).iterfind(f".//{DC}description/{RDF}Alt/{RDF}li")] == [text]


def test_the_inputs_packet_is_merged() -> None:
    packet = xmp(MESH, LIGHTROOM)
    root = tree(packet)
    assert digital_source_type(packet) == SOURCE_TYPE
    assert packet.count(b"DigitalSourceType>") == 2
    assert b"trainedAlgorithmicMedia" not in packet
    assert b"OLDFACE" not in packet
    assert [e.text for e in root.iterfind(f".//{DC}creator/{RDF}Seq/{RDF}li")] == ["Zoë & Søn"]
    assert [e.text for e in root.iterfind(f".//{DC}description/{RDF}Alt/{RDF}li")] == ["The sea"]
    assert [e.text for e in root.iter("{urn:mine}odd")] == ["kept"]
    bodies = root.findall(f".//{RDF}Description")
    assert {b.get(f"{RDF}about") for b in bodies} == {"uuid:1"}
    assert next(b.get("{http://ns.adobe.com/xap/1.0/}Rating") for b in bodies) == "4"
    assert root.get("{adobe:ns:meta/}xmptk") == "Adobe XMP Core"
    events = root.findall(f".//{MM}History/{RDF}Seq/{RDF}li")
    assert events[0].get(f"{EVENT}action") == "derived"
    assert events[1].findtext(f"{EVENT}softwareAgent") == "mien 1.2.3"


def test_two_edits_are_two_events_and_the_same_edit_gives_the_same_bytes() -> None:
    once = xmp(MESH)
    assert once == xmp(MESH)
    twice = xmp(NEURAL, once)
    assert len(tree(twice).findall(f".//{MM}History/{RDF}Seq/{RDF}li")) == 2
    assert digital_source_type(twice) == SOURCE_TYPE
    assert digital_source_type(xmp(MESH, twice)) == SOURCE_TYPE


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0\0",
        b"no xml",
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF",
        b"<html/>",
        b"\xff\xfe<x",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><x:xmpmeta xmlns:x='adobe:ns:meta/'>&a;</x:xmpmeta>",
    ],
)
def test_an_unreadable_packet_is_replaced(broken: bytes) -> None:
    assert xmp(MESH, broken) == xmp(MESH)


def test_rdf_without_a_wrapper_is_merged() -> None:
    bare = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:p="urn:p" p:a="1"/></rdf:RDF>'
    )
    root = tree(xmp(MESH, bare))
    assert root.tag == f"{RDF}RDF"
    assert [d.get("{urn:p}a") for d in root] == ["1", None]


def test_a_prefix_used_for_two_namespaces_keeps_both() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description><dc:a xmlns:dc="urn:1">1</dc:a></rdf:Description>'
        b'<rdf:Description><dc:a xmlns:dc="urn:2">2</dc:a></rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    root = tree(xmp(MESH, packet))
    assert root.findtext(".//{urn:1}a") == "1"
    assert root.findtext(".//{urn:2}a") == "2"


def test_a_packet_too_long_for_a_jpeg_loses_its_largest_property_first() -> None:
    body = "".join(f"<m:p{k} xmlns:m='urn:m'>{'x' * n}</m:p{k}>" for k, n in enumerate((10, 60_000, 5_000)))
    packet = LIGHTROOM.replace(b"<x2:odd>", body.encode() + b"<x2:odd>")
    shorter = xmp(MESH, packet)
    assert len(shorter) <= 65_502
    assert tree(shorter).find(".//{urn:m}p1") is None
    assert tree(shorter).findtext(".//{urn:m}p2") == "x" * 5_000
    assert digital_source_type(shorter) == SOURCE_TYPE
    assert tree(xmp(MESH, packet, limit=0)).findtext(".//{urn:m}p1") == "x" * 60_000


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn"))), max_size=3))
def test_any_words_survive(changes: list[str]) -> None:
    edit = Edit("0", tuple(changes))
    found = tree(xmp(edit)).findtext(f".//{EVENT}parameters")
    assert found == edit.text


def test_container_tags() -> None:
    tags = metadata(MESH, {"title": "T", "COMMENT": "by me"}, "mkv")
    assert tags == {
        "title": "T",
        "COMMENT": "by me\nedited with mien 1.2.3: face replaced (mesh) (digital source type: "
        + SOURCE_TYPE
        + ")",
        "DIGITAL_SOURCE_TYPE": SOURCE_TYPE,
    }
    assert metadata(NEURAL) == {
        "comment": "edited with mien 1.2.3: face replaced (inswapper); face enhanced "
        f"(digital source type: {SOURCE_TYPE})"
    }


def test_a_generative_video_is_not_laundered() -> None:
    assert metadata(MESH, metadata(NEURAL, container="mkv"), "mkv")["DIGITAL_SOURCE_TYPE"] == SOURCE_TYPE
    assert metadata(MESH, metadata(NEURAL))["comment"].endswith(f"(digital source type: {SOURCE_TYPE})")
    assert metadata(MESH, metadata(MESH)) == metadata(MESH)
