"use strict";
// Whatever came from outside (paths, frames, reasons) becomes text by textContent, never markup.

const LOG_LINES = 200;      // kept in a console
const LINE_MAX = 4096;      // characters of a frame that are shown
const broker = JSON.parse(document.getElementById("broker").textContent);
const scheme = location.protocol === "https:" ? "wss://" : "ws://";

function bytes(n) {
  if (n % 1048576 === 0) return n / 1048576 + " MiB";
  return n % 1024 === 0 ? n / 1024 + " KiB" : n + " bytes";
}

function duration(ms) {
  if (ms % 60000 === 0) return ms / 60000 + " min";
  return ms >= 1000 ? ms / 1000 + " s" : ms + " ms";
}

// ---- what a close code means: the table of the page is the only list ----

function meaning(code, reason) {
  const rows = [...document.querySelectorAll(`#codes tr[data-code="${Number(code)}"]`)];
  const row = rows.find(r => r.cells[1].textContent === reason) ?? rows[0];
  return row ? row.cells[2].textContent + " " + row.cells[3].textContent : "";
}

// ---- cards ----

function facts(endpoint) {
  const list = [
    ["Largest message", bytes(endpoint.max_message)],
    ["Slow consumer above", bytes(endpoint.backpressure) + " unsent"],
    ["Idle limit", duration(broker.idle_timeout) + ", pinged after " + duration(broker.ping_after)],
    ["Compression", endpoint.compression === "on" ? "permessage-deflate, from " + bytes(endpoint.compression_threshold) : "off"],
    ["Refusals", endpoint.refusals === "close" ? "close codes" : "HTTP status"],
  ];
  if (endpoint.protocol === "echo") return list;
  return [["Authentication", endpoint.auth], ...ownFacts[endpoint.protocol](endpoint), ...list];
}

const ownFacts = {
  events: endpoint => [
    ["Authenticate within", duration(endpoint.auth_timeout)],
    ["Heartbeat", "every " + duration(endpoint.heartbeat_interval) + ", closed after " + duration(endpoint.heartbeat_timeout)],
    ["Rooms per connection", String(endpoint.max_rooms)],
    ["Clients may publish", endpoint.publish ? "yes, by pattern" : "no"],
    ["Acknowledgements", endpoint.acknowledge ? "yes, with an id" : "no"],
    ["Encryption", endpoint.encryption + (endpoint.require_encryption ? ", required" : "")],
  ],
  signaling: endpoint => [
    ["Roles", endpoint.roles.join(", ") || "any"],
    ["People in a room", `${endpoint.room_size}, ${endpoint.role_size} of a role`],
    ["A taken role is probed for", duration(endpoint.takeover_probe)],
    ["Return unnoticed within", endpoint.grace ? duration(endpoint.grace) : "off"],
    ["ICE servers", endpoint.ice_servers ? "told at entry" : "none"],
  ],
  notifications: endpoint => [["Sent at connection", "the newest " + endpoint.backlog + " unread"]],
};

const text = list => list.map(([name, message]) => [name, JSON.stringify(message)]);
const samples = {
  events: eventSamples,
  echo: () => [["Greeting", "hello"]],
  signaling: () => text([
    ["To all", {type: "chat", text: "hello"}],
    ["Offer", {type: "offer", sdp: "v=0 …"}],
    ["To one", {type: "chat", to: "(an id of `peers`)", text: "hello"}],
    ["Leave", {type: "leave"}],
  ]),
  notifications: () => text([
    ["List", {type: "list", limit: 20}],
    ["Mark read", {type: "mark_read", id: "(an id)"}],
    ["Mark all read", {type: "mark_all_read"}],
  ]),
};

function eventSamples(endpoint) {
  const list = [["Join", {event: "join", data: {rooms: ["public-news"]}}]];
  if (endpoint.publish)
    list.push(["Publish", {event: "publish", data: {room: "public-news", event: "headline", data: {text: "hello"}}}]);
  list.push(["Leave", {event: "leave", data: {rooms: ["public-news"]}}]);
  const id = endpoint.acknowledge ? {id: 1} : {};
  return text(list.map(([name, message]) => [name, {...message, ...id}]));
}

function makeCard(endpoint) {
  const card = document.getElementById("card").content.cloneNode(true).firstElementChild;
  const find = selector => card.querySelector(selector);
  find(".path").textContent = endpoint.path;
  find(".protocol").textContent = endpoint.protocol;
  find(".console").setAttribute("aria-label", "Console of " + endpoint.path);
  for (const [name, value] of facts(endpoint)) {
    const pair = document.createElement("div");
    pair.append(document.createElement("dt"), document.createElement("dd"));
    pair.firstChild.textContent = name;
    pair.lastChild.textContent = value;
    find(".facts").append(pair);
  }
  for (const part of card.querySelectorAll("[data-for]"))
    part.hidden = !part.dataset.for.split(" ").includes(endpoint.protocol);
  find(".token-field").hidden ||= endpoint.auth === "anonymous" && endpoint.protocol !== "events";
  startConsole(endpoint, makeAddress(endpoint, find), find);
  return card;
}

// ---- where to ----

/** address(): the URL with room and role filled in; address(true): with the token, where it belongs there. */
function makeAddress(endpoint, find) {
  const isFree = !endpoint.roles?.length;
  find(".free-role").hidden = !isFree;
  find(".given-role").hidden = isFree;
  find("select.role").append(...(endpoint.roles ?? []).map(role => new Option(role, role)));
  const value = selector => encodeURIComponent(find(selector).value);
  function address(withToken = false) {
    const token = value(".token");
    const path = endpoint.protocol === "signaling"
      ? endpoint.path.replace("{room}", () => value(".room")).replace("{role}", () => value(isFree ? "input.role" : "select.role"))
      : endpoint.path;
    return scheme + location.host + path + (token && endpoint.protocol !== "events" ? "?token=" + (withToken ? token : "•••") : "");
  }
  const show = () => { find(".url code").textContent = address(); };
  find(".connect").addEventListener("input", show);
  show();
  return address;
}

// ---- the console ----

function makeLog(list) {
  return function log(sign, kind, text) {
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const line = document.createElement("li"), time = document.createElement("time");
    const mark = document.createElement("span"), what = document.createElement("span");
    time.textContent = new Date().toTimeString().slice(0, 8);
    mark.textContent = sign;
    mark.className = what.className = kind;
    what.textContent = text.length > LINE_MAX ? text.slice(0, LINE_MAX) + `… (${text.length} characters)` : text;
    line.append(time, mark, what);
    list.append(line);
    while (list.children.length > LOG_LINES) list.firstChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  };
}

const BEAT = 30000; // of endpoints that have no heartbeat_interval of their own

function startConsole(endpoint, address, find) {
  const log = makeLog(find(".log"));
  const isEvents = endpoint.protocol === "events";
  let ws = null, opened = false, beat = 0;

  function show(state) {
    const isOpen = ws !== null && ws.readyState === WebSocket.OPEN;
    find(".state").textContent = state;
    find(".toggle").textContent = ws ? "Disconnect" : "Connect";
    for (const button of [find(".send .primary"), find(".authenticate"), find(".heartbeat")]) button.disabled = !isOpen;
  }

  function send(text, shown = text) {
    ws.send(text);
    log("→", "out", shown);
  }

  function authenticate() {
    const token = find(".token").value;
    const message = t => JSON.stringify({event: "authenticate", data: {type: "Bearer", token: t}});
    send(message(token), message(token ? "•••" : ""));
  }

  function heartbeat() {
    if (ws && ws.readyState === WebSocket.OPEN) send(isEvents ? '{"event":"heartbeat"}' : '{"type":"ping"}');
  }

  function onOpen() {
    opened = true;
    show("connected");
    log("·", "", "connected");
    if (endpoint.protocol === "echo") return;
    beat = setInterval(() => find(".auto-beat").checked && heartbeat(), endpoint.heartbeat_interval ?? BEAT);
    if (!isEvents) return;
    if (endpoint.require_encryption)
      log("!", "bad", "This endpoint demands encryption, which this console does not speak: expect 4004.");
    if (find(".auto-auth").checked) authenticate();
  }

  function onClose(e) {
    clearInterval(beat);
    ws = null;
    show("closed " + e.code);
    log("×", "bad", `closed ${e.code}${e.reason ? ` “${e.reason}”` : ""}\n${meaning(e.code, e.reason)}`);
    if (!opened)
      log("!", "bad", `It never opened. The handshake was refused, or nobody answered: is ${location.origin} among the endpoint's allowed_origins?`);
  }

  function connect() {
    opened = false;
    try {
      ws = new WebSocket(address(true));
    } catch (e) {
      log("!", "bad", "The browser refuses this URL: " + e.message);
      return;
    }
    ws.binaryType = "arraybuffer";
    ws.onopen = onOpen;
    ws.onclose = onClose;
    ws.onmessage = m => log("←", "in", typeof m.data === "string" ? m.data : `(binary, ${m.data.byteLength} bytes)`);
    show("connecting …");
    log("·", "", "connecting to " + address());
  }

  function disconnect() {
    ws.close(1000);
    show("closing …");
  }

  find(".connect").addEventListener("submit", e => {
    e.preventDefault();
    if (ws) disconnect();
    else connect();
  });
  find(".send").addEventListener("submit", e => {
    e.preventDefault();
    if (ws && ws.readyState === WebSocket.OPEN) send(find(".message").value);
  });
  find(".message").addEventListener("keydown", e => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) find(".send").requestSubmit();
  });
  find(".authenticate").addEventListener("click", authenticate);
  find(".heartbeat").addEventListener("click", heartbeat);
  find(".clear").addEventListener("click", () => find(".log").replaceChildren());
  find(".beat-label").textContent = `send a ${isEvents ? "heartbeat" : "ping"} every ` + duration(endpoint.heartbeat_interval ?? BEAT);
  find(".heartbeat").textContent = isEvents ? "Heartbeat" : "Ping";
  find(".token-hint").textContent = isEvents ? "(sent with authenticate; may be empty)" : "(sent in the URL: better a one-time ticket)";
  fillSamples(endpoint, find);
}

function fillSamples(endpoint, find) {
  const list = samples[endpoint.protocol](endpoint);
  for (const [name, text] of list) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = name;
    button.title = text;
    button.addEventListener("click", () => {
      find(".message").value = text;
      find(".message").focus();
    });
    find(".samples").append(button);
  }
  find(".message").value = list[0][1];
}

// ---- the rest of the page ----

function fillSnippets() {
  const set = (selector, text) => document.querySelectorAll(selector).forEach(part => { part.textContent = text; });
  set("[data-module]", JSON.stringify(location.origin + "/heliod.js"));
  for (const endpoint of [...broker.endpoints].reverse()) // so that the first of each protocol stays
    set(`[data-url="${endpoint.protocol}"]`, JSON.stringify(scheme + location.host + endpoint.path));
  const events = broker.endpoints.find(e => e.protocol === "events");
  if (!events) return;
  set("[data-beat]", events.heartbeat_interval);
  set("[data-beat-seconds]", events.heartbeat_interval / 1000);
}

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch { // not in a secure context: the text is marked, to be copied by hand
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.textContent = "Marked";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

document.getElementById("version").textContent = broker.version;
document.getElementById("bare").hidden = broker.endpoints.length > 0;
document.getElementById("list").append(...broker.endpoints.map(makeCard));
fillSnippets();
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
