// A connection through a SOCKS5 proxy (RFC 1928, RFC 1929). Names are resolved by the proxy: behind a network that lies, its answers are the better ones.
import { once } from "node:events";
import { isIPv4, type Socket } from "node:net";
import { type FailureKind, TransferError } from "./failure.js";
import type { ForwardProxy } from "./proxy.js";

/** What the proxy says about the host (RFC 1928 §6). */
const REPLIES: Record<number, [FailureKind, string]> = {
  1: ["unreachable", "general failure"],
  2: ["proxy", "not allowed by its rules"],
  3: ["unreachable", "network unreachable"],
  4: ["unreachable", "host unreachable"],
  5: ["refused", "connection refused"],
  6: ["unreachable", "time to live expired"],
  7: ["proxy", "it does not connect to others"],
  8: ["proxy", "it does not know this kind of address"],
};

const NO_AUTHENTICATION = 0;
const USER_AND_PASSWORD = 2;

async function take(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const data = socket.read(bytes) as Buffer | null;
    if (data?.length === bytes) return data;
    if (data !== null || socket.readableEnded || socket.destroyed) throw new TransferError("reset", "the SOCKS proxy closed the connection");
    // "readable" comes at the end as well.
    await once(socket, "readable");
  }
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length === 0 || bytes.length > 255) throw new TransferError("proxy", "SOCKS carries names and passwords of 1 to 255 bytes only");
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

/** Asks the proxy at the other end of `socket` for a connection to `host:port`. Afterwards the socket is that connection. */
export async function socksConnect(socket: Socket, proxy: ForwardProxy, host: string, port: number): Promise<void> {
  const withUser = proxy.user !== "" || proxy.password !== "";
  socket.write(withUser ? Buffer.of(5, 2, NO_AUTHENTICATION, USER_AND_PASSWORD) : Buffer.of(5, 1, NO_AUTHENTICATION));
  const [version, method] = await take(socket, 2);
  if (version !== 5) throw new TransferError("proxy", "the proxy does not speak SOCKS5");
  if (method === USER_AND_PASSWORD && withUser) {
    socket.write(Buffer.concat([Buffer.of(1), counted(proxy.user), counted(proxy.password)]));
    const [, status] = await take(socket, 2);
    if (status !== 0) throw new TransferError("proxy", "the SOCKS proxy refused user name and password");
  } else if (method !== NO_AUTHENTICATION) {
    throw new TransferError("proxy", "the SOCKS proxy wants an authentication that is not there; put user:password@ into the proxy's URL");
  }
  const address = isIPv4(host) ? Buffer.of(1, ...host.split(".").map(Number)) : Buffer.concat([Buffer.of(3), counted(host)]);
  socket.write(Buffer.concat([Buffer.of(5, 1, 0), address, Buffer.of(port >> 8, port & 255)]));
  const [, reply = 1, , kind] = await take(socket, 4);
  if (reply !== 0) {
    const [failure, text] = REPLIES[reply] ?? ["proxy", `reply ${reply}`];
    throw new TransferError(failure, `the SOCKS proxy says: ${text}`);
  }
  // The address it connects from is of no use, but stands in front of the first byte.
  const length = kind === 1 ? 4 : kind === 4 ? 16 : (await take(socket, 1))[0]!;
  await take(socket, length + 2);
}
