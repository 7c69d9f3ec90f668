// node storm.mjs HOST PORT RATE SOURCE...: from each source RATE connections a second that ask the proxy for the proxy, and give up
// after a second. Ends with its input, or after two minutes.

import net from 'node:net';

const [host, port, rate, ...sources] = process.argv.slice(2);
const TICK = 20;
const OPEN = 4_000;
const request = `GET http://${host}/mmtls/00006a5e HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: storm\r\n\r\n`;
let open = 0;
let owed = 0;

function attempt(localAddress) {
  if (open >= OPEN) return;
  open += 1;
  const socket = net.connect({ host, port: Number(port), localAddress });
  const end = setTimeout(() => socket.destroy(), 1_000);
  socket.on('error', () => {});
  socket.on('close', () => {
    clearTimeout(end);
    open -= 1;
  });
  socket.resume();
  socket.write(request);
}

let last = performance.now();
setInterval(() => {
  const now = performance.now();
  owed = Math.min(owed + ((now - last) * Number(rate)) / 1_000, Number(rate));
  last = now;
  for (; owed >= 1; owed -= 1) sources.forEach(attempt);
}, TICK);
process.stdin.on('end', () => process.exit(0)).resume();
setTimeout(() => process.exit(0), 120_000);
