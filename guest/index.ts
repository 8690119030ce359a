// The public surface of the SDK. What is not here is not promised.
export { Body } from "./body";
export { FetchRequest, FetchResponse } from "./fetch";
export {
  cluster,
  DataStatus,
  Duration,
  Filter,
  filter,
  HeadersStatus,
  NoConfig,
  OnError,
  oneOf,
  range,
  required,
  StreamFilter,
  TrailersStatus,
} from "./filter";
export { Header, HeaderMap, Headers } from "./headers";
export { Json, JsonType } from "./json";
export { Level, log } from "./log";
export { Request, Response } from "./message";
export { Stream } from "./stream";
