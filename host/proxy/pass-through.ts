// A filter that lets everything pass: in place of one that a failure took away after the chain was made.
import { DataStatus, HeadersStatus, type StreamFilter, TrailersStatus } from "../vm/stream-callbacks.js";

export const passThrough: StreamFilter = {
  decodeHeaders: () => HeadersStatus.Continue,
  decodeData: () => DataStatus.Continue,
  decodeTrailers: () => TrailersStatus.Continue,
  encodeHeaders: () => HeadersStatus.Continue,
  encodeData: () => DataStatus.Continue,
  encodeTrailers: () => TrailersStatus.Continue,
  log() {},
  onDestroy() {},
};
