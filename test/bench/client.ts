// The load generator for machines without wrk: keep-alive connections over plain sockets, one request at a time on each; its output reads like wrk's.
import net from "node:net";

interface Job {
  url: string;
  seconds: number;
  connections: number;
  headers: Record<string, string>;
  /** Makes the requests POSTs. */
  body?: string;
}

const job = JSON.parse(process.argv[2] ?? "{}") as Job;
const { hostname, port, host } = new URL(job.url);
const lines = [
  `${job.body === undefined ? "GET" : "POST"} / HTTP/1.1`,
  `host: ${host}`,
  ...Object.entries(job.headers).map(([name, value]) => `${name}: ${value}`),
];
if (job.body !== undefined) lines.push(`content-length: ${Buffer.byteLength(job.body)}`);
const request = Buffer.from(`${lines.join("\r\n")}\r\n\r\n${job.body ?? ""}`);

let answered = 0;
let bad = 0;
let unconnected = 0;
let broken = 0;
let over = false;

function connect(): net.Socket {
  const socket = net.connect(Number(port), hostname);
  let text = "";
  let connected = false;
  socket.setNoDelay(true);
  socket.on("connect", () => {
    connected = true;
    socket.write(request);
  });
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (text.length < end + 4 + length) return;
    answered++;
    if (!/^HTTP\/1\.1 [23]/.test(text)) bad++;
    text = "";
    if (!over) socket.write(request);
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    if (over) return;
    if (connected) broken++;
    else unconnected++;
  });
  return socket;
}

const sockets = Array.from({ length: job.connections }, connect);
setTimeout(() => {
  over = true;
  console.log(`${answered} requests in ${job.seconds}s`);
  if (unconnected || broken) console.log(`Socket errors: connect ${unconnected}, read ${broken}, write 0`);
  if (bad) console.log(`Non-2xx or 3xx responses: ${bad}`);
  for (const socket of sockets) socket.destroy();
}, job.seconds * 1000);
