// The list is always what the broker says: after every change it is asked for anew, so that all tabs agree.
import {NotificationsClient} from "/heliod.js";

const at = id => document.getElementById(id);
const broker = JSON.parse(at("broker").textContent);
const endpoint = broker.endpoints.find(e => e.protocol === "notifications");
const PAGE = 20;

let client = null;
let wanted = PAGE;   // how many of the inbox are shown
let asking = null;   // a refresh that is due

const say = (text, bad = false) => {
  at("state").textContent = text;
  at("state").classList.toggle("bad", bad);
};

// ---- the list ----

/** What a back end put in is its own; these members are shown, all else as JSON. */
function describe({id, created_at, read, title, text, body, message, ...rest}) {
  const words = text ?? body ?? message;
  return {
    title: title === undefined ? (words === undefined ? JSON.stringify(rest) : "") : String(title),
    text: words === undefined ? "" : String(words),
  };
}

function makeItem(notification) {
  const item = at("one").content.cloneNode(true).firstElementChild;
  const find = selector => item.querySelector(selector);
  const {title, text} = describe(notification);
  const time = new Date(notification.created_at);
  item.classList.toggle("fresh", !notification.read);
  find(".title").textContent = title;
  find(".text").textContent = text;
  find("time").textContent = isNaN(time) ? "" : time.toLocaleString();
  find(".read").hidden = Boolean(notification.read);
  find(".read").addEventListener("click", () => client?.markRead(notification.id));
  return item;
}

/** A request holds at most 100; longer lists are asked for piece by piece. */
async function fetchList() {
  const all = [];
  let more = true;
  while (more && all.length < wanted) {
    const page = await client?.list({limit: Math.min(100, wanted - all.length), ...(all.length ? {before: all.at(-1).id} : {})});
    if (!page) return null;
    all.push(...page.notifications);
    more = page.more && page.notifications.length > 0;
  }
  return {all, more};
}

async function refresh() {
  asking = null;
  const found = await fetchList();
  if (!found || asking) return; // gone, or out of date already
  at("list").replaceChildren(...found.all.map(makeItem));
  at("empty").hidden = found.all.length > 0;
  at("more").hidden = !found.more;
}

function refreshSoon() {
  asking ??= setTimeout(refresh, 50);
}

// ---- the bell ----

function count(unread) {
  at("badge").textContent = unread > 99 ? "99+" : String(unread);
  at("badge").hidden = unread === 0;
  at("bell").setAttribute("aria-label", `Notifications, ${unread} unread`);
  document.title = (unread ? `(${unread}) ` : "") + "heliod: a bell";
  refreshSoon();
}

function connect(token) {
  client = new NotificationsClient(endpoint.path, {token});
  client.on("open", ({user}) => {
    at("enter").hidden = true;
    at("inbox").hidden = at("bell").hidden = false;
    at("how").textContent = `helioctl notify ${user} '{"title": "Hello", "text": "from a terminal"}'`;
    say(`Connected as ${user}.`);
  });
  client.on("unread", count);
  client.on("notification", refreshSoon);
  client.on("lost", ({code, delay}) => say(`Lost (${code}); again in ${(delay / 1000).toFixed(1)} s …`, true));
  client.on("end", ({code, reason}) => {
    at("enter").hidden = false;
    at("inbox").hidden = at("bell").hidden = true;
    say(code === 1000 ? "Not connected." : `Closed ${code}: ${reason || "no reason was given"}`, code !== 1000);
  });
}

at("enter").addEventListener("submit", e => {
  e.preventDefault();
  connect(at("token").value);
});
at("bell").addEventListener("click", () => {
  at("inbox").hidden = !at("inbox").hidden;
  at("bell").setAttribute("aria-expanded", String(!at("inbox").hidden));
});
at("all").addEventListener("click", () => client?.markAllRead());
at("off").addEventListener("click", () => client?.close());
at("more").addEventListener("click", () => {
  wanted += PAGE;
  refresh();
});

// The part of a URL behind # stays in the browser: a link can hold the token of a demo.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (!endpoint) {
  at("enter").hidden = true;
  say("No endpoint with `protocol: notifications` is configured.", true);
} else if (token) {
  at("token").value = token;
  connect(token);
}
