// @ts-check
/** The connection to a live run over WebRTC: sends camera and microphone, and gets the result. */
import { post } from "./api.js";

/** Milliseconds for which addresses of this machine are waited for: some browsers never say that they have all. */
const GATHER = 2000;
/** Milliseconds without the other side after which the connection is made anew: a run waits ten seconds for its camera. */
const DROPPED = 1500;
/** Most bits a second for the camera: browsers begin with so few that faces blur. */
const MOST = 8_000_000;

export class Link {
  /** @param {(made: MediaStream) => void} seen  Told of what comes back. @param {() => void} lost  The connection broke. */
  constructor(seen, lost) {
    this.timer = 0;
    this.peer = new RTCPeerConnection();
    const made = new MediaStream();
    this.peer.addEventListener("track", (e) => {
      made.addTrack(e.track);
      seen(made);
    });
    this.peer.addEventListener("connectionstatechange", () => {
      clearTimeout(this.timer);
      const { connectionState: state } = this.peer;
      if (state === "failed") lost();
      if (state === "disconnected") this.timer = window.setTimeout(lost, DROPPED);
    });
  }

  /**
   * Connect. Without a camera the run is only watched; a microphone can come later in any case.
   * @param {MediaStreamTrack | null} camera @param {MediaStreamTrack | null} microphone
   */
  async connect(camera, microphone) {
    const { peer } = this;
    this.video = peer.addTransceiver(camera ?? "video", camera ? { direction: "sendrecv", sendEncodings: [{ maxBitrate: MOST }] } : { direction: "recvonly" });
    this.audio = peer.addTransceiver(microphone ?? "audio", { direction: camera ? "sendrecv" : "recvonly" });
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const answer = await post("/live/offer", { sdp: peer.localDescription?.sdp ?? "" });
    if (peer.signalingState === "closed") return;
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    if (camera) await this.keepSize();
  }

  /** Rather fewer pictures than smaller ones, where the browser lets us choose. */
  async keepSize() {
    const sender = this.video?.sender;
    const now = sender?.getParameters();
    if (sender && now?.encodings?.length) await sender.setParameters({ ...now, degradationPreference: "maintain-resolution" }).catch(() => {});
  }

  /** Send another camera, another microphone, or none. @param {"video" | "audio"} kind @param {MediaStreamTrack | null} track */
  async replace(kind, track) {
    await this[kind]?.sender.replaceTrack(track);
  }

  close() {
    clearTimeout(this.timer);
    this.peer.close();
  }
}

/** Wait until a peer knows its own addresses. @param {RTCPeerConnection} peer @returns {Promise<void>} */
function gathered(peer) {
  return new Promise((done) => {
    const look = () => peer.iceGatheringState === "complete" && done();
    peer.addEventListener("icegatheringstatechange", look);
    setTimeout(done, GATHER);
    look();
  });
}
