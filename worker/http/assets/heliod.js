// @ts-check
/**
 * heliod.js: clients for heliod's three protocols, without dependencies.
 *
 *   import {EventsClient, SignalingClient, NotificationsClient} from "http://broker:8000/heliod.js";
 *   const events = new EventsClient("/ws", {token: getToken, rooms: ["public-news"]});
 *   events.on("message:headline", data => show(data.text));
 *
 * Each connects, proves who it is, keeps alive, and connects again until `close()` or a close code that says it
 * is of no use. Nothing from the server makes it throw. URLs: ws, wss, http, https, or a path of the page's own server.
 * Encrypted events are not supported.
 *
 * What sends gives false when it did not: not connected. Every client tells by `on(name, listener)`:
 *   open     the server took us in: its first message. Again after each reconnection
 *   lost     {code, reason, delay}: the connection ended; the next attempt follows after `delay` milliseconds
 *   end      {code, reason}: it ended for good
 *   state    connecting, open, waiting or ended; also `client.state`
 *
 * A token is a text, or a function that is asked for one before each attempt (it may fetch one-time tickets, or fail).
 * @typedef {string | (() => string | Promise<string>)} Token
 * @typedef {{token?: Token, heartbeat?: number}} Options  heartbeat: ms, 30,000 by default
 * @typedef {{[member: string]: any}} Message
 * @typedef {{notifications: Message[], more: boolean} | null} Page
 */

/**
 * Close codes after which another attempt is of no use:
 *   1000 1005            the end was asked for
 *   1002 1003 1007 1009  what we sent broke a rule or was too big; it would again
 *   4001                 token refused, unless it was good and can be fetched anew; events: merely late, not final
 *   4003 4004            events: token refused; encryption demanded
 *   4400 4403 4404       bad path, origin not allowed, no such endpoint
 *   4409                 room full or role taken: who is there is alive
 *   4410                 a newer connection took our place: to take turns for ever would be worse
 *   4411                 an operator disconnected us
 * The others pass: 1001 1012 (stop, restart), 1006 (network, a worker died), 1008 (we read too slowly), 1011, 1013, 4002 4408
 * (silent too long), 4429 (too many), 4503 (overloaded). Unknown ones are judged like HTTP's: 44xx is final.
 */
const FINAL = new Set([1000, 1002, 1003, 1005, 1007, 1009, 4001, 4003, 4004]);

/** @param {number} code */
const isFinal = code => FINAL.has(code) || (code >= 4400 && code < 4500 && code !== 4408 && code !== 4429);

const BACKOFF = 500, BACKOFF_MAX = 30000; // limit of the first delay, doubled by each failure up to this
const STEADY = 5000;   // a connection that lasted this long makes failures before it forgotten
const OPENING = 30000; // from an attempt to its first message
const SEEN = 1000;     // ids of notifications that are remembered

/** @param {unknown} value @returns {value is Message} */
const isObject = value => value instanceof Object && !Array.isArray(value);

class Client {
  /** @type {"connecting" | "open" | "waiting" | "ended"} */
  state = "connecting";
  /** @type {Map<string, Set<Function>>} */ #listeners = new Map();
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {any} */ #timer; // of the attempt under way, or until the next
  /** @type {any} */ #beat;
  #heard = true; // since the last ping
  #attempt = 0;
  #failures = 0;
  #openedAt = 0;
  /** @type {Message} */ _beat = {type: "ping"};
  _answers = true; // does the server answer it?
  #online = () => { if (this.state === "waiting") this.#connect(); };

  /** @param {string} url @param {Options} [options] */
  constructor(url, options = {}) {
    this._url = url;
    this._options = options;
    addEventListener("online", this.#online);
    queueMicrotask(() => this.#connect());
  }

  /** Until the function it returns is called. @param {string} name @param {(detail: any, more?: any) => void} listener */
  on(name, listener) {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    return () => { set.delete(listener); };
  }

  /** Ends for good. */
  close() {
    if (this.state === "ended") return;
    const socket = this.#release();
    this.#finish(1000, "");
    socket?.close(1000);
  }

  /** @param {string} name @param {any} detail @param {any} [more] */
  _tell(name, detail, more) {
    for (const listener of [...this.#listeners.get(name) ?? []]) {
      try {
        listener(detail, more);
      } catch (e) { // reported as uncaught; the other listeners are told, too
        setTimeout(() => { throw e; });
      }
    }
  }

  /** @param {Message} message */
  _send(message) {
    try {
      if (this.#socket?.readyState !== WebSocket.OPEN) return false;
      this.#socket.send(JSON.stringify(message));
      return true;
    } catch {
      return false;
    }
  }

  /** The server took us in. @param {any} detail */
  _welcomed(detail) {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#openedAt = Date.now();
    this.#heard = true;
    this.#beat = setInterval(() => this.#keepAlive(), this._options.heartbeat || 30000);
    this.#become("open");
    this._tell("open", detail);
  }

  /** @param {URL} url @param {string} [token] */
  _address(url, token) {
    if (token) url.searchParams.set("token", token);
  }
  /** The socket is open. @param {string} [token] */
  _opened(token) {}
  /** @param {Message} message */
  _received(message) {}
  _gone() {}
  /** @param {number} code @param {boolean} wasOpen */
  _isFinal(code, wasOpen) {
    return isFinal(code) && !(code === 4001 && wasOpen && typeof this._options.token === "function");
  }

  async #connect() {
    if (this.state === "ended") return;
    this.#release();
    const attempt = this.#attempt;
    this.#timer = setTimeout(() => this.#abandon("no answer in time"), OPENING);
    this.#become("connecting");
    let {token} = this._options;
    try {
      if (typeof token === "function") token = await token();
    } catch (e) {
      if (attempt === this.#attempt) this.#abandon("no token: " + e);
    }
    if (attempt === this.#attempt) this.#start(token && String(token)); // not closed meanwhile
  }

  /** @param {string} [token] */
  #start(token) {
    try {
      const url = new URL(this._url, location.href);
      if (/^(undefined|null)$/.test(url.hostname)) throw new Error("its host was not filled in");
      url.protocol = url.protocol.replace("http", "ws");
      this._address(url, token);
      const socket = this.#socket = new WebSocket(url);
      socket.onopen = () => this._opened(token);
      socket.onmessage = e => this.#message(e.data);
      socket.onclose = e => {
        this.#release();
        this.#lost(e.code, e.reason);
      };
    } catch (e) {
      this.#release();
      this.#finish(4400, `cannot connect to ${this._url}: ${e}`);
    }
  }

  /** @param {string} text */
  #message(text) {
    let message;
    try { message = JSON.parse(text); } catch {} // passed over
    this.#heard = true;
    if (isObject(message)) this._received(message);
  }

  /** A ping has to be answered before the next is due. */
  #keepAlive() {
    if (!this.#heard) return this.#abandon("no pong in time");
    this.#heard = !this._send(this._beat) || !this._answers;
  }

  /** Does not wait for the other side, who may be long gone. @param {string} reason */
  #abandon(reason) {
    const socket = this.#release();
    this.#lost(1006, reason);
    socket?.close();
  }

  /** Nothing more will be heard of the present attempt or connection. */
  #release() {
    const socket = this.#socket;
    this.#attempt++;
    this.#socket = null;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    const wasOpen = this.state === "open";
    if (this._isFinal(code, wasOpen)) return this.#finish(code, reason);
    if (wasOpen && Date.now() - this.#openedAt >= STEADY) this.#failures = 0;
    // Full jitter: those who lost a server together do not return together.
    const delay = Math.random() * Math.min(BACKOFF_MAX, BACKOFF * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#become("waiting");
    this._tell("lost", {code, reason, delay});
  }

  /** @param {number} code @param {string} reason */
  #finish(code, reason) {
    removeEventListener("online", this.#online);
    this.#become("ended");
    this._tell("end", {code, reason});
  }

  /** @param {Client["state"]} state */
  #become(state) {
    if (this.state === state) return;
    this.state = state;
    if (state !== "open") this._gone();
    this._tell("state", state);
  }
}

/** `open` brings the data of `connected`. Also: `message` (data, event) and `message:EVENT` (data), `error` (text). */
export class EventsClient extends Client {
  /** @type {Message} */ _beat = {event: "heartbeat", id: 0};
  _answers = false;

  /**
   * credentials: more for `authenticate`; rooms: joined at once.
   * @param {string} url @param {Options & {credentials?: Message, rooms?: string[]}} [options]
   */
  constructor(url, options = {}) {
    super(url, options);
    this._credentials = options.credentials;
    /** Joined again after a reconnection. @type {Set<string>} */
    this.rooms = new Set(options.rooms);
  }

  /** Now, or as soon as there is a connection. @param {...string} rooms */
  join(...rooms) {
    rooms.forEach(room => this.rooms.add(room));
    if (this.state === "open") this.#ask("join", rooms);
  }

  /** @param {...string} rooms */
  leave(...rooms) {
    rooms.forEach(room => this.rooms.delete(room));
    if (this.state === "open") this.#ask("leave", rooms);
  }

  /** @param {string} event @param {any} [data] */
  send(event, data) {
    return this.state === "open" && this._send({event, data});
  }

  /** At most 100 in a request. @param {string} event @param {string[]} rooms */
  #ask(event, rooms) {
    while (rooms.length) this._send({event, data: {rooms: rooms.splice(0, 100)}});
  }

  _address() {}
  /** @param {string} [token] */
  _opened(token) {
    this._send({event: "authenticate", data: {type: "Bearer", token, ...this._credentials}});
  }
  /** @param {number} code */
  _isFinal(code) {
    return code !== 4001 && isFinal(code);
  }
  /** @param {Message} message */
  _received({event, data}) {
    if (event === "connected" && this.state === "connecting") {
      this._welcomed(data);
      this.#ask("join", [...this.rooms]);
    } else if (event === "error") {
      this._tell("error", String(data?.message));
    } else {
      this._answers ||= event === "ack";
      this._tell("message", data, event);
      this._tell("message:" + event, data);
    }
  }
}

/** Random; a reload has the same, a second tab another. */
function ownSession() {
  const fresh = crypto.getRandomValues(new Uint32Array(4)).join("-");
  try {
    return sessionStorage["heliod.session"] ||= fresh;
  } catch { // storage is forbidden
    return fresh;
  }
}

/**
 * `open` brings {id, room, userType, peers, iceServers}. Also: `user-joined`, `user-left`, `user-returned`, `error`
 * ({code, message}); `message` and `message:TYPE` for what peers say, with its `from`.
 */
export class SignalingClient extends Client {
  /** Who else is there. @type {Map<string, {id: string, userType: string}>} */
  peers = new Map();

  /**
   * url: with {room} and {role} where those belong; session: lets a reloaded page take its place again; one a tab by default.
   * @param {string} url @param {Options & {room?: string, role?: string, session?: string}} [options]
   */
  constructor(url, options = {}) {
    const {room = "{room}", role = "{role}"} = options;
    super(String(url).replace("{room}", encodeURIComponent(room)).replace("{role}", encodeURIComponent(role)), options);
    this._session = options.session ?? ownSession();
  }

  /** To all others, or to the one in `to`. @param {Message} message */
  send(message) {
    return this.state === "open" && this._send(message);
  }

  /** Tells the others that we left, and ends. */
  leave() {
    this._send({type: "leave"});
    this.close();
  }

  /** @param {URL} url @param {string} [token] */
  _address(url, token) {
    super._address(url, token);
    url.searchParams.set("session", this._session);
  }
  /** @param {Message} message */
  _received(message) {
    const {type, id, userType} = message;
    if (type === "joined") {
      const peers = Array.isArray(message.peers) ? message.peers.filter(isObject) : [];
      this.peers = new Map(peers.map(p => [p.id, {id: p.id, userType: p.userType}]));
      return this._welcomed(message);
    }
    if (type === "user-left") this.peers.delete(id);
    if (type === "user-returned") this.peers.delete(message.was);
    if (type === "user-joined" || type === "user-returned") this.peers.set(id, {id, userType});
    if (/^(user-(joined|left|returned)|error)$/.test(type)) return this._tell(type, message);
    if (type === "pong") return;
    this._tell("message", message);
    this._tell("message:" + type, message);
  }
}

/**
 * `open` brings {user, id, unread_count}. Also: `notification` (each id once, also over reconnections), `unread` (count),
 * `error` ({code, message}).
 */
export class NotificationsClient extends Client {
  unread = 0;
  /** @type {Set<string>} */ #seen = new Set();
  /** @type {((page: Page) => void)[]} */ #asked = [];

  /** @param {string} id */
  markRead(id) {
    return this.state === "open" && this._send({type: "mark_read", id});
  }

  markAllRead() {
    return this.state === "open" && this._send({type: "mark_all_read"});
  }

  /** Newest first; null: not to be had. @param {{before?: string, limit?: number}} [which] @returns {Promise<Page>} */
  list({before, limit = 20} = {}) {
    const message = {type: "list", before, limit: Math.min(Math.max(1, limit | 0), 100)};
    if (this.state !== "open" || !this._send(message)) return Promise.resolve(null);
    return new Promise(resolve => { this.#asked.push(resolve); }); // answered in order
  }

  _gone() {
    this.#asked.splice(0).forEach(resolve => resolve(null));
  }
  /** @param {Message} message */
  _received(message) {
    const {type, notification, notifications} = message;
    if (type === "connection_established") {
      this._welcomed(message);
      this.#count(message.unread_count);
    } else if (type === "unread_count") {
      this.#count(message.count);
    } else if (type === "notification") {
      if (!isObject(notification) || this.#seen.has(notification.id)) return;
      if (this.#seen.size >= SEEN) this.#seen.delete([...this.#seen][0]);
      this.#seen.add(notification.id);
      this._tell(type, notification);
    } else if (type === "list") {
      this.#asked.shift()?.({notifications: Array.isArray(notifications) ? notifications : [], more: message.more === true});
    } else if (type === "error") {
      message.code === "no-such-notification" ? this.#asked.shift()?.(null) : this._gone();
      this._tell("error", message);
    }
  }
  /** @param {any} count */
  #count(count) {
    this.unread = Number(count) || 0;
    this._tell("unread", this.unread);
  }
}
