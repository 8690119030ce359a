// A download that arrived in good order: the wanted file, the wanted file in a content coding, or neither.
import { unlink } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { dirname, join } from "node:path";
import { type Digest, sameDigest } from "../cache/digest.js";
import { codingOf, decodeTo, diagnose, doubt } from "./diagnosis.js";
import { diskFailure, TransferError } from "./failure.js";
import type { PartialFile } from "./partial.js";

export interface Verified {
  file: string;
  digest: Digest;
  bytes: number;
  /** The content coding that was undone. */
  decoded?: string;
}

export interface Claim {
  digest: Digest | undefined;
  partial: PartialFile;
  keepBad: boolean;
}

/**
 * The finished file, or why it is none. Bad bytes are gone afterwards, or kept beside.
 * @throws TransferError "disk".
 */
export async function verify(headers: IncomingHttpHeaders, url: URL, claim: Claim): Promise<Verified | TransferError> {
  const { digest: wanted, partial } = claim;
  const bytes = partial.offset;
  const digest = await partial.digest();
  try {
    if (wanted && sameDigest(wanted, digest)) return { file: await partial.finish(), digest, bytes };
    const decoded = await undo(headers, url, wanted ?? digest, wanted !== undefined, partial);
    if (decoded) return decoded;
    const failure = wanted ? await diagnose(partial.path, bytes, headers, wanted, digest) : await doubt(partial.path, bytes, headers, url);
    if (!failure) return { file: await partial.finish(), digest, bytes };
    return await discard(failure, digest, claim);
  } catch (error) {
    throw diskFailure(error, partial.path);
  }
}

async function discard(failure: TransferError, digest: Digest, { partial, keepBad }: Claim): Promise<TransferError> {
  if (!keepBad || partial.offset === 0) {
    await partial.restart();
    return failure;
  }
  const kept = join(dirname(partial.path), `bad-${digest.hex.slice(0, 16)}`);
  await partial.restart(kept);
  return new TransferError(failure.kind, failure.message, { ...failure.details, kept });
}

/**
 * Some servers send a coding though none was asked for. Where a digest is wanted the decoded bytes have to have it; where none is, they are
 * decoded as Bazel does it: unless the name says that the file itself is compressed (bazel 7.7: HttpStream).
 */
async function undo(headers: IncomingHttpHeaders, url: URL, wanted: Digest, judged: boolean, partial: PartialFile): Promise<Verified | undefined> {
  const coding = codingOf(headers);
  if (coding === undefined || partial.offset === 0 || (!judged && /\.t?gz$/i.test(url.pathname))) return undefined;
  const to = `${partial.path}.decoded`;
  try {
    const result = await decodeTo(partial.path, to, coding, wanted.algorithm);
    if (!result || (judged && !sameDigest(result.digest, wanted))) return undefined;
    return { file: await partial.finish(to), digest: result.digest, bytes: result.bytes, decoded: coding };
  } finally {
    await unlink(to).catch(() => undefined);
  }
}
