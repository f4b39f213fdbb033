// The original: helpers package's WebSocketServerHelper and WebSocketEmitter under Bun, with one small application behind them. The same
// application answers heliod's hooks, so that whatever differs is the servers' doing. Driven over HTTP: POST /control {op, …} by the
// tests, POST /hook/<profile> by heliod. Started with the port of Redis; prints the port of its control listener.
import { ECDH, RedisHelper, WebSocketEmitter, WebSocketServerHelper } from '@venizia/ignis-helpers';

const redisPort = process.argv[2];
const ecdh = new ECDH();
const connection = (name: string) => new RedisHelper({ name, host: '127.0.0.1', port: redisPort, password: undefined as any });
const sleep = (ms: number) => new Promise(done => setTimeout(done, ms));

// ── the application ──

type Order = { client?: string; room?: string; event: string; data: unknown };
const calls: Record<string, unknown[]> = {}; // server name → what its callbacks were told
let permitted: string[] = []; // rooms beside public-*

function record(server: string, call: unknown) {
  (calls[server] ??= []).push(call);
}

// Immediate where it can be, as applications with a local check are.
function authenticate(data: any): any {
  const [verb, ...words] = String(data?.token ?? 'echo').split(' ');
  switch (verb) {
    case 'user':
      return { userId: words.join(' '), metadata: { from: 'app' } };
    case 'echo':
      return { userId: JSON.stringify(data) };
    case 'anonymous':
      return {};
    case 'null':
      return null;
    case 'false':
      return false;
    case 'sleep':
      return sleep(Number(words[0])).then(() => ({ userId: words[1] }));
    case 'reject':
      return Promise.reject(new Error('rejected, as asked'));
    default:
      throw new Error('thrown, as asked');
  }
}

function rooms(names: string[]): any {
  if (names.includes('public-throw')) throw new Error('thrown, as asked');
  if (names.includes('public-null')) return null;
  const more = names.includes('public-more') ? ['public-not-asked-for'] : [];
  return [...names.filter(n => n.startsWith('public-') || permitted.includes(n)), ...more];
}

function message(clientId: string, userId: string | undefined, m: any): any {
  switch (m.event) {
    case 'throw':
      throw new Error('thrown, as asked');
    case 'reject':
      return Promise.reject(new Error('rejected, as asked'));
    case 'order':
      return m.data;
    default:
      return [{ client: clientId, event: 'told', data: { userId, event: m.event, data: m.data, id: m.id } }];
  }
}

// One handshake for both: the package's algorithm. The session key as bytes is for heliod's hook only.
async function handshake(data: any) {
  if (data.handshake === 'null') return null;
  if (data.handshake === 'false') return false;
  if (data.handshake === 'throw') throw new Error('thrown, as asked');
  if (data.handshake?.startsWith?.('sleep ')) await sleep(Number(data.handshake.slice(6)));
  if (!data.publicKey) return null;
  const { keyPair, publicKeyB64 } = await ecdh.generateKeyPair();
  const peerPublicKey = await ecdh.importPublicKey({ rawKeyB64: data.publicKey });
  const { key, salt } = await ecdh.deriveAESKey({ privateKey: keyPair.privateKey, peerPublicKey });
  const bits = await crypto.subtle.deriveBits({ name: 'ECDH', public: peerPublicKey }, keyPair.privateKey, 256);
  const hkdf = await crypto.subtle.importKey('raw', bits, 'HKDF', false, ['deriveBits']);
  const info = new TextEncoder().encode('ignis-ecdh-p256-aes-256-gcm-v1');
  const raw = await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: Buffer.from(salt, 'base64'), info }, hkdf, 256);
  return { serverPublicKey: publicKeyB64, salt, key, sessionKey: Buffer.from(raw).toString('base64') };
}

// ── the original, by profile ──

const sealing = (keys: Map<string, CryptoKey>) => ({
  requireEncryption: true,
  handshakeFn: async ({ clientId, data }: any) => {
    const done = await handshake(data);
    if (!done) return done;
    keys.set(clientId, done.key);
    return { serverPublicKey: done.serverPublicKey, salt: done.salt };
  },
  outboundTransformer: async ({ client, event, data }: any) => {
    const secret = keys.get(client.id);
    if (event === 'connected' || !secret) return null;
    return { event: 'encrypted', data: await ecdh.encrypt({ message: JSON.stringify({ event, data }), secret }) };
  },
});
const profiles: Record<string, () => any> = {
  plain: () => ({}),
  timers: () => ({ authTimeout: 400, heartbeatInterval: 300, heartbeatTimeout: 900 }),
  patient: () => ({ authTimeout: 120_000 }),
  lobby: () => ({ defaultRooms: ['lobby'] }),
  bare: () => ({ validateRoomFn: undefined, messageHandler: undefined, defaultRooms: [] }),
  sealed: () => sealing(new Map()),
  shaken: () => ({ ...sealing(new Map()), authTimeout: 400 }),
  unsealed: () => ({ requireEncryption: true }),
};
const servers: Record<string, { helper: any; bun: any }> = {};

async function start(name: string, profile: string) {
  let bun: any;
  const helper: any = new WebSocketServerHelper({
    identifier: name,
    redisConnection: connection(name),
    server: { pendingWebSockets: 0, publish: (topic: any, data: any) => bun.publish(topic, data) } as any,
    authenticateFn: (data: any) => (record(name, { hook: 'authenticate', data }), authenticate(data)),
    validateRoomFn: ({ clientId, userId, rooms: names }: any) => {
      record(name, { hook: 'rooms', clientId, userId, rooms: names });
      return rooms(names);
    },
    clientConnectedFn: ({ clientId, userId, metadata }: any) => record(name, { hook: 'connected', clientId, userId, metadata }),
    clientDisconnectedFn: ({ clientId, userId }: any) => record(name, { hook: 'disconnected', clientId, userId }),
    messageHandler: ({ clientId, userId, message: m }: any) => {
      const orders = message(clientId, userId, m); // throws at once, or later, or never
      if (orders instanceof Promise) return orders;
      for (const { client, room, event, data } of orders as Order[])
        helper.send({ destination: client ?? room, payload: { topic: event, data } });
    },
    ...profiles[profile](),
  });
  await helper.configure();
  bun = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request: Request, server: any) {
      if (new URL(request.url).pathname !== helper.getPath()) return new Response('not found', { status: 404 });
      if (server.upgrade(request, { data: { clientId: crypto.randomUUID() } })) return undefined;
      return new Response('WebSocket upgrade failed', { status: 500 });
    },
    websocket: helper.getBunWebSocketHandler(),
  });
  servers[name] = { helper, bun };
  return bun.port;
}

// ── heliod's hooks ──

function orders(list: Order[]) {
  const to = (o: Order) => (o.client ? { client: o.client } : o.room ? { room: o.room } : { broadcast: true });
  return { send: list.map(o => ({ to: to(o), event: o.event, data: o.data })) };
}

async function hook(profile: string, q: any): Promise<Response> {
  const { hook: name, clientId, userId, metadata, data } = q;
  try {
    switch (name) {
      case 'authenticate':
        record('heliod ' + profile, { hook: name, data });
        return Response.json(await authenticate(data));
      case 'rooms':
        record('heliod ' + profile, { hook: name, clientId, userId, rooms: q.rooms });
        return Response.json(await rooms(q.rooms));
      case 'handshake':
        return Response.json(await handshake(data));
      case 'message':
        return Response.json(orders(await message(clientId, userId, q.message)));
      default:
        record('heliod ' + profile, name === 'connected' ? { hook: name, clientId, userId, metadata } : { hook: name, clientId, userId });
        return new Response(null, { status: 204 });
    }
  } catch {
    return new Response(null, { status: 500 });
  }
}

// ── control ──

const emitter = new WebSocketEmitter({ redisConnection: connection('emitter') });
await emitter.configure();
const pairs: CryptoKeyPair[] = []; // of encrypted clients, which use the package's class too

const control: Record<string, (q: any) => any> = {
  start: q => start(q.server, q.profile),
  stop: q => servers[q.server].helper.shutdown().then(() => servers[q.server].bun.stop(true)),
  send: q => servers[q.server].helper.send({ destination: q.destination, payload: { topic: q.topic, data: q.data } }),
  toUser: q => servers[q.server].helper.sendToUser({ userId: q.user, event: q.topic, data: q.data }),
  clients: q => [...servers[q.server].helper.getClients().keys()],
  emit: q => (emitter as any)[q.to](q),
  permit: q => void (permitted = q.rooms),
  calls: q => {
    const seen = calls[q.server] ?? [];
    delete calls[q.server];
    return seen;
  },
  key: async () => {
    const { keyPair, publicKeyB64 } = await ecdh.generateKeyPair();
    return { index: pairs.push(keyPair) - 1, publicKey: publicKeyB64 };
  },
  open: async q => {
    const peerPublicKey = await ecdh.importPublicKey({ rawKeyB64: q.serverPublicKey });
    const { key } = await ecdh.deriveAESKey({ privateKey: pairs[q.index].privateKey, peerPublicKey, salt: q.salt });
    return Promise.all(q.messages.map((m: any) => ecdh.decrypt({ message: m, secret: key })));
  },
};

const listener = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  async fetch(request: Request) {
    const q = await request.json();
    const path = new URL(request.url).pathname;
    if (path.startsWith('/hook/')) return hook(path.slice(6), q);
    try {
      return Response.json((await control[q.op](q)) ?? null);
    } catch (e) {
      return Response.json(String(e), { status: 500 });
    }
  },
});
console.log(`control port ${listener.port}`);
