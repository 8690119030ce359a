// The downloader: files over bad networks, verified, resumed and from mirrors.
export { type Connections, openConnections } from "./connections.js";
export type { FailureKind, TransferFailure } from "./failure.js";
export type { ProgressEvent } from "./mirror.js";
export { type TransferOptions, type TransferResult, transfer, type Wanted } from "./transfer.js";
