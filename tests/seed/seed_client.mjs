// A client as the seed's users wrote it: Node's `ws`, a guest token made on the client, JSON envelopes.
// Usage: node seed_client.mjs URL [TOKEN]. Each line on stdin is sent as it is; each event goes to stdout as
// one JSON line: {"event":"open"}, {"event":"message","envelope":...}, {"event":"close","code":...,"reason":...}.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

const [url, token = `guest_${randomUUID()}_${Date.now()}`] = process.argv.slice(2);
const ws = new WebSocket(token === 'none' ? url : `${url}?token=${token}`);
const report = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

ws.on('open', () => {
  report({ event: 'open' });
  createInterface({ input: process.stdin }).on('line', (line) => ws.send(line));
});
ws.on('message', (data) => report({ event: 'message', envelope: JSON.parse(data.toString()) }));
ws.on('error', (error) => report({ event: 'error', message: error.message }));
ws.on('close', (code, reason) => {
  report({ event: 'close', code, reason: reason.toString() });
  process.exit(0);
});
