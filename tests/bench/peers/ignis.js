// The original, Ignis' WebSocket helper under Bun, with the least application: whoever comes is taken, room names that begin with r may
// be joined, `echo` is answered, `publish` goes to a room or to a connection.   bun ignis.js PORT REDIS-PORT
import { RedisHelper, WebSocketServerHelper } from '@venizia/ignis-helpers';

const [port, redisPort] = process.argv.slice(2);
let bun;
const helper = new WebSocketServerHelper({
  identifier: 'bench',
  redisConnection: new RedisHelper({ name: 'bench', host: '127.0.0.1', port: redisPort, password: undefined }),
  server: { pendingWebSockets: 0, publish: (topic, data) => bun.publish(topic, data) },
  authenticateFn: ({ token }) => ({ userId: token }),
  validateRoomFn: ({ rooms }) => rooms.filter(name => name.startsWith('r')),
  messageHandler: ({ clientId, message: { event, data } }) => {
    if (event === 'echo') helper.sendToClient({ clientId, event: 'echo', data });
    else if (event === 'publish') helper.send({ destination: data.to, payload: { topic: 'm', data: data.data } });
  },
});
await helper.configure();
bun = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  fetch: (request, server) =>
    server.upgrade(request, { data: { clientId: crypto.randomUUID() } }) ? undefined : new Response('no', { status: 404 }),
  websocket: helper.getBunWebSocketHandler(),
});
