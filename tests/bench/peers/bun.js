// Bun's own server and its native publish: /echo comes back; at /room the first message says {"sub":room} or {"pub":room}, and what
// follows goes to the others of that room.   bun bun.js PORT
function first(ws, text) {
  const { sub, pub } = JSON.parse(text);
  ws.data.room = sub ?? pub;
  if (sub !== undefined) ws.subscribe(sub);
  ws.send('ok');
}

Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch(request, server) {
    const echo = new URL(request.url).pathname === '/echo';
    return server.upgrade(request, { data: { echo, room: undefined } }) ? undefined : new Response('no', { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 120,
    message(ws, text) {
      if (ws.data.echo) ws.send(text);
      else if (ws.data.room === undefined) first(ws, text);
      else ws.publish(ws.data.room, text);
    },
  },
});
