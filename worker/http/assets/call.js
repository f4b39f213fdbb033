// Who is there when somebody enters makes the offer; who enters waits for it. So nobody ever offers to an offerer.
import {SignalingClient} from "/heliod.js";

const at = id => document.getElementById(id);
const broker = JSON.parse(at("broker").textContent);
const endpoint = broker.endpoints.find(e => e.protocol === "signaling");
const roles = endpoint?.roles?.length ? endpoint.roles : ["host", "guest"];
const asked = new URLSearchParams(location.hash.slice(1));

let client = null;    // our place in the room
let media = null;     // camera and microphone; null: this side only looks and listens
let peer = null;      // {id, pc, offered, work}: the other side
let iceServers = [];

const say = (text, bad = false) => {
  at("state").textContent = text;
  at("state").classList.toggle("bad", bad);
};

/**
 * One step after the other: a candidate may not overtake its offer. The queue is the peer's own, because what a connection was
 * asked for is never answered once it is closed.
 */
function inOrder(step) {
  const mine = peer;
  mine.work = mine.work
    .then(() => mine === peer && step(mine.pc, mine.id))
    .catch(e => mine === peer && say(`The call could not be set up: ${e.message}`, true));
}

// ---- the connection between the browsers ----

function drop() {
  peer?.pc.close();
  peer = null;
  at("theirs").srcObject = null;
  at("waiting").hidden = false;
}

/** Browsers let a page that was reloaded, and has no microphone either, be heard only after a click. */
function playSilently(e) {
  if (e.name !== "NotAllowedError") return; // another stream came in between
  at("theirs").muted = true;
  at("theirs").play().catch(() => {});
  addEventListener("click", () => { at("theirs").muted = false; }, {once: true});
}

function connectTo(id, offered) {
  drop();
  const pc = new RTCPeerConnection({iceServers});
  const mine = peer = {id, pc, offered, work: Promise.resolve()};
  for (const kind of ["audio", "video"]) {
    const track = media?.getTracks().find(t => t.kind === kind);
    if (track) pc.addTrack(track, media);
    else if (offered) pc.addTransceiver(kind, {direction: "recvonly"});
  }
  pc.onicecandidate = ({candidate}) => candidate && client?.send({type: "candidate", to: id, candidate});
  pc.ontrack = ({streams}) => {
    at("theirs").srcObject = streams[0] ?? null;
    at("waiting").hidden = true;
    at("theirs").play().catch(playSilently);
  };
  pc.onconnectionstatechange = () => {
    if (peer !== mine) return;
    if (pc.connectionState === "connected") say("In a call.");
    else if (pc.connectionState === "failed") fail(mine);
  };
}

/** The way between the browsers is cut; while the other side is in the room, its offerer tries again. */
function fail({id, offered}) {
  drop();
  if (!client?.peers.has(id)) return;
  say("The connection between the browsers broke.", true);
  if (offered) offer(id);
}

function offer(to) {
  connectTo(to, true);
  say("Somebody is here. Connecting …");
  inOrder(async pc => {
    await pc.setLocalDescription();
    client?.send({type: "offer", to, sdp: pc.localDescription.sdp});
  });
}

function onOffer({from, sdp}) {
  connectTo(from.id, false);
  say("Connecting …");
  inOrder(async (pc, to) => {
    await pc.setRemoteDescription({type: "offer", sdp});
    await pc.setLocalDescription();
    client?.send({type: "answer", to, sdp: pc.localDescription.sdp});
  });
}

function onAnswer({from, sdp}) {
  if (from.id === peer?.id) inOrder(pc => pc.setRemoteDescription({type: "answer", sdp}));
}

function onCandidate({from, candidate}) {
  if (from.id === peer?.id) inOrder(pc => pc.addIceCandidate(candidate).catch(() => {})); // one of several ways
}

// ---- the room ----

function onCame({id}) {
  if (!peer || !client.peers.has(peer.id)) offer(id); // a third person stays outside of this call
}

/** Who hung up is gone. Whose way to the broker was lost may still be seen, and soon come back. */
function onLeft({id, userType, reason}) {
  if (id !== peer?.id) return;
  if (reason === "lost" && peer.pc.connectionState === "connected") return say(`The ${userType} lost the broker; waiting for the return …`);
  drop();
  say(`The ${userType} has left. Waiting for the return …`);
}

function enter(room, role) {
  client = new SignalingClient(endpoint.path, {room, role, token: at("token").value || undefined});
  client.on("open", welcome => {
    iceServers = welcome.iceServers ?? [];
    say(welcome.peers.length ? "In the room. Connecting …" : "In the room. Waiting for the other side …");
  });
  client.on("lost", ({code, delay}) => say(`The broker was lost (${code}); again in ${(delay / 1000).toFixed(1)} s …`, true));
  client.on("end", ({code, reason}) => code !== 1000 && leave(`Closed ${code}: ${reason || "no reason was given"}`));
  client.on("user-joined", onCame);
  client.on("user-returned", onCame);
  client.on("user-left", onLeft);
  client.on("message:offer", onOffer);
  client.on("message:answer", onAnswer);
  client.on("message:candidate", onCandidate);
  client.on("error", ({message}) => console.warn(message));
}

// ---- the page ----

async function openMedia() {
  try {
    media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 640, height: 480}});
    at("own").srcObject = media;
  } catch (e) { // none there, refused, busy, or a page that came neither by https nor from localhost
    media = null;
    console.warn("without camera and microphone: " + e.message);
  }
  at("own").hidden = at("mute").hidden = at("dark").hidden = !media;
}

async function start() {
  const room = at("room").value, role = at("role").value;
  const other = roles.find(r => r !== role) ?? role;
  const hash = r => "#" + new URLSearchParams({room, role: r});
  history.replaceState({isInCall: true}, "", hash(role)); // a reload goes straight back in
  at("link").href = at("link").textContent = location.origin + location.pathname + hash(other);
  at("lobby").hidden = true;
  at("call").hidden = false;
  say("Asking for camera and microphone …");
  await openMedia();
  if (at("call").hidden) closeMedia(); // hung up while the browser asked
  else enter(room, role);
}

function closeMedia() {
  media?.getTracks().forEach(track => track.stop());
  media = null;
}

function leave(text, bad = true) {
  client?.leave();
  client = null;
  drop();
  closeMedia();
  history.replaceState(null, "");
  at("lobby").hidden = false;
  at("call").hidden = true;
  say(text, bad);
}

function toggle(button, kind) {
  const off = button.getAttribute("aria-pressed") !== "true";
  media?.getTracks().filter(t => t.kind === kind).forEach(t => { t.enabled = !off; });
  button.setAttribute("aria-pressed", String(off));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(at("link").href);
    at("invite").textContent = "Copied";
  } catch { // not in a secure context: marked, to be copied by hand
    getSelection().selectAllChildren(at("link"));
    at("invite").textContent = "Marked";
  }
  setTimeout(() => { at("invite").textContent = "Copy invitation"; }, 2000);
}

at("room").value = asked.get("room") ?? "room-" + Math.random().toString(36).slice(2, 8);
at("role").value = asked.get("role") ?? roles[0];
at("roles").append(...roles.map(role => new Option(role, role)));
at("token-field").hidden = !endpoint || endpoint.auth === "anonymous";
at("lobby").addEventListener("submit", e => {
  e.preventDefault();
  start();
});
at("mute").addEventListener("click", () => toggle(at("mute"), "audio"));
at("dark").addEventListener("click", () => toggle(at("dark"), "video"));
at("invite").addEventListener("click", copyLink);
at("hang-up").addEventListener("click", () => leave("You hung up.", false));
if (!endpoint) {
  at("lobby").hidden = true;
  say("No endpoint with `protocol: signaling` is configured.", true);
} else if (history.state?.isInCall && at("token-field").hidden) {
  start();
}
