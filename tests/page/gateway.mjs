// The gateway under test, an origin, and clients: raw sockets, from a network of their own where there is one.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Our address towards the clients, and theirs; on loopback where no network could be made. */
const OWN_NETWORK = process.env.FLOODGATE_OWN_NETWORK === '1';
export const canFence = OWN_NETWORK;
export const OURS = OWN_NETWORK ? '198.18.0.1' : '127.0.0.1';
export const client = (n) => (OWN_NETWORK ? `198.18.1.${n}` : `127.18.1.${n}`);
const CLIENTS = 24;

export async function until(what, condition) {
  // A safety net against a hanging test, not a limit of anything tested.
  const end = performance.now() + 120_000;
  for (;;) {
    const seen = await condition();
    if (seen) return seen;
    if (performance.now() > end) throw new Error(`not reached: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

async function run(program, ...args) {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit ${code}`);
}

/** A network for the clients, joined to ours by a cable; it lives as long as the process that keeps it. */
export class Network {
  #keeper = null;

  async make() {
    if (!OWN_NETWORK) return;
    this.#keeper = spawn('unshare', ['--net', 'sleep', '3600'], { stdio: 'ignore' });
    const ours = await readlink('/proc/self/ns/net');
    await until('the clients have a network', async () =>
      (await readlink(`/proc/${this.#keeper.pid}/ns/net`).catch(() => ours)) !== ours);
    const pid = String(this.#keeper.pid);
    await run('ip', 'link', 'add', 'gate', 'type', 'veth', 'peer', 'name', 'clients', 'netns', pid);
    await run('ip', 'addr', 'add', `${OURS}/16`, 'dev', 'gate');
    await run('ip', 'link', 'set', 'gate', 'up');
    const addresses = Array.from({ length: CLIENTS }, (_, i) => `ip addr add ${client(i + 1)}/16 dev clients`);
    await run('nsenter', '-t', pid, '-n', 'sh', '-ec', [...addresses, 'ip link set clients up', 'ip link set lo up'].join('; '));
  }

  /** Runs a program where the clients are. */
  spawn(program, args) {
    const [first, rest] = this.#keeper ? ['nsenter', ['-t', String(this.#keeper.pid), '-n', program, ...args]] : [program, args];
    return spawn(first, rest, { stdio: ['pipe', 'inherit', 'inherit'] });
  }

  end() {
    this.#keeper?.kill();
  }
}

async function freePort() {
  const server = net.createServer().listen(0, OURS);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** An origin that says yes. */
export async function origin() {
  const server = http.createServer((_, answer) => answer.end('x'.repeat(2_000))).listen(0, OURS);
  await once(server, 'listening');
  server.unref();
  return { server, authority: `${OURS}:${server.address().port}` };
}

/** Somebody who is told of alarms: `told` are the messages. */
export async function listener() {
  const told = [];
  const server = http.createServer(async (question, answer) => {
    let body = '';
    for await (const chunk of question.setEncoding('utf8')) body += chunk;
    told.push(JSON.parse(body));
    answer.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  return { server, told, url: `http://127.0.0.1:${server.address().port}/` };
}

/** `floodgate demo`, and where its page is. */
export async function demo(seconds) {
  const child = spawn(process.env.FLOODGATE, ['demo', '--seconds', String(seconds)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => { said += chunk; });
  const [, url] = await until('the demonstration says where its page is', () => /Dashboard: (http:\S+)/.exec(said));
  return {
    url,
    async stop() {
      if (child.exitCode !== null) return;
      child.kill('SIGINT');
      await once(child, 'exit');
    },
  };
}

export class Gateway {
  #folder;
  #process = null;
  said = '';

  async prepare(origins, hook) {
    this.#folder = process.env.FLOODGATE_STATE ?? await mkdtemp(join(tmpdir(), 'floodgate-page-'));
    [this.port, this.adminPort] = [await freePort(), await freePort()];
    this.url = `http://127.0.0.1:${this.adminPort}/`;
    await writeFile(this.#path('floodgate.toml'), `
      [[listener]]
      address = "${OURS}:${this.port}"
      [admin]
      address = "127.0.0.1:${this.adminPort}"
      token-file = "${this.#path('token')}"
      [self]
      allow = [${origins.map((authority) => `"${authority}"`).join(', ')}]
      [clients]
      allow = ["127.0.0.0/8", "198.18.0.0/15"]
      # What a further client does is told with the next message.
      [alarm]
      window = "10s"
      [[alarm.webhook]]
      kind = "json"
      url = "${hook}"
      plain-http = true
    `);
  }

  #path(name) {
    return join(this.#folder, name);
  }

  async start() {
    const args = ['run', '--config', this.#path('floodgate.toml')];
    const env = { ...process.env, STATE_DIRECTORY: this.#folder };
    this.#process = spawn(process.env.FLOODGATE, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.on('data', (chunk) => { this.said = (this.said + chunk).slice(-4_000); });
    }
    const started = this.#process;
    await until('the gateway answers', async () => {
      if (started.exitCode !== null) throw new Error(`the gateway has ended: ${this.said}`);
      return (await fetch(`${this.url}healthz`).catch(() => null))?.ok;
    });
  }

  async stop() {
    if (this.#process?.exitCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  async end() {
    await this.stop();
    // What was given to us goes with the network.
    if (!process.env.FLOODGATE_STATE) await rm(this.#folder, { recursive: true, force: true });
  }

  async token() {
    return (await readFile(this.#path('token'), 'utf8')).trim();
  }

  async status() {
    return (await fetch(`${this.url}api/v1/status`)).json();
  }
}

/** Sends one request over a connection of its own; what comes back, as text. */
export async function ask(gateway, request) {
  const socket = net.connect(gateway.port, OURS);
  let answer = '';
  socket.setEncoding('latin1').on('data', (text) => { answer += text; });
  socket.on('error', () => {});
  socket.write(request, 'latin1');
  await once(socket, 'close');
  return answer;
}

/** Clients that ask the gateway for itself, `rate` times a second each, and do not wait. Ends when `stop` is called. */
export function storm(network, gateway, addresses, rate) {
  const path = new URL('./storm.mjs', import.meta.url).pathname;
  const child = network.spawn(process.execPath, [path, OURS, String(gateway.port), String(rate), ...addresses]);
  return {
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      // It ends with its input.
      child.stdin.end();
      await ended;
    },
  };
}
