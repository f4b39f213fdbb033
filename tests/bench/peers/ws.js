// The npm package ws under Node: /echo comes back; at /room the first message says {"sub":room} or {"pub":room}, and what follows
// goes to the others of that room.   node ws.js PORT
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const wss = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const rooms = new Map();

function tell(from, data) {
  const text = data.toString('latin1'); // ASCII throughout; once for all
  for (const member of from.room) if (member !== from) member.send(text);
}

function enter(ws, data) {
  const { sub, pub } = JSON.parse(data);
  const name = sub ?? pub;
  if (!rooms.has(name)) rooms.set(name, new Set());
  ws.room = rooms.get(name);
  if (sub !== undefined) {
    ws.room.add(ws);
    ws.on('close', () => ws.room.delete(ws));
  }
  ws.send('ok');
}

createServer()
  .on('upgrade', (request, socket, head) => {
    socket.setNoDelay(true);
    wss.handleUpgrade(request, socket, head, ws => {
      ws.on('error', () => ws.terminate());
      if (request.url === '/echo') ws.on('message', (data, binary) => ws.send(data, { binary }));
      else ws.on('message', data => (ws.room ? tell(ws, data) : enter(ws, data)));
    });
  })
  .listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
