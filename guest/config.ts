// What the generated configuration parsers call: one function per kind of field. A problem names the path inside the configuration.
import { Duration } from "./filter";
import { Json } from "./json";

function problem(problems: string[], path: string, expected: string, json: Json): void {
  problems.push(
    path +
      ": expected " +
      expected +
      ", got " +
      (json.isObject ? "an object" : json.isArray ? "an array" : json.isNull ? "null" : json.isBool ? "true or false" : clipped(json.scalar)),
  );
}

function clipped(text: string): string {
  return text.length > 60 ? text.substring(0, 57) + "..." : text;
}

export function readString(json: Json, path: string, problems: string[]): string {
  if (!json.isString) problem(problems, path, "a string", json);
  return json.string;
}

export function readBool(json: Json, path: string, problems: string[]): bool {
  if (!json.isBool) problem(problems, path, "true or false", json);
  return json.bool;
}

/** Any of AssemblyScript's number types, with its limits. */
export function readNumber<T>(json: Json, path: string, problems: string[]): T {
  if (!json.isNumber) {
    problem(problems, path, "a number", json);
    return <T>0;
  }
  if (isFloat<T>()) return <T>json.number;
  const digits = json.digits;
  const value = json.number;
  if (Math.floor(value) != value || digits.includes(".") || digits.includes("e") || digits.includes("E")) {
    problem(problems, path, "a whole number", json);
    return <T>0;
  }
  // 2 to the power of the bits that count.
  const limit = reinterpret<f64>((<u64>(1023 + sizeof<T>() * 8 - (isSigned<T>() ? 1 : 0))) << 52);
  const least = isSigned<T>() ? -limit : 0;
  if (value < least || value >= limit) {
    problem(problems, path, sizeof<T>() == 8 ? "a whole number of 64 bits" : "a number from " + short(least) + " to " + short(limit - 1), json);
    return <T>0;
  }
  return isSigned<T>() ? <T>I64.parseInt(digits) : <T>U64.parseInt(digits);
}

export function readDuration(json: Json, path: string, problems: string[]): Duration {
  let ms: f64 = json.number;
  if (json.isString) {
    const text = json.string;
    let unit: f64 = 0;
    let digits = text;
    if (text.endsWith("ms")) {
      unit = 1;
      digits = text.substring(0, text.length - 2);
    } else if (text.length > 1) {
      digits = text.substring(0, text.length - 1);
      if (text.endsWith("s")) unit = 1000;
      else if (text.endsWith("m")) unit = 60_000;
      else if (text.endsWith("h")) unit = 3_600_000;
    }
    const number = Json.parse(digits);
    ms = unit > 0 && number.isNumber ? number.number * unit : NaN;
  }
  if (isNaN(ms) || ms < 0 || ms > 4_294_967_295.0) {
    problem(problems, path, 'a time like "250ms", "1.5s", "2m", "1h" or a number of milliseconds', json);
    return new Duration(0);
  }
  return new Duration(<u32>ms);
}

/** Whether there is an object to look into. */
export function isObject(json: Json, path: string, problems: string[]): bool {
  if (json.isObject) return true;
  problem(problems, path, "an object", json);
  return false;
}

export function isArray(json: Json, path: string, problems: string[]): bool {
  if (json.isArray) return true;
  problem(problems, path, "an array", json);
  return false;
}

/** A name that is no field is a typing error until proved otherwise. */
export function checkNames(json: Json, path: string, known: string[], problems: string[]): void {
  for (let i = 0; i < json.length; i++) {
    const name = json.nameAt(i);
    if (!known.includes(name)) problems.push(path + "." + name + ": there is no such field (fields: " + known.join(", ") + ")");
  }
}

export function missing(path: string, problems: string[]): void {
  problems.push(path + ": is required");
}

export function checkRange(value: f64, least: f64, greatest: f64, what: string, path: string, problems: string[]): void {
  if (value < least || value > greatest)
    problems.push(path + ": " + what + " must be from " + short(least) + " to " + short(greatest) + ", got " + short(value));
}

function short(value: f64): string {
  return Math.floor(value) == value && Math.abs(value) < 1e15 ? (<i64>value).toString() : value.toString();
}

export function checkText(value: string, allowed: string[], path: string, problems: string[]): void {
  if (!allowed.includes(value)) problems.push(path + ': must be one of "' + allowed.join('", "') + '", got "' + clipped(value) + '"');
}

export function checkNumber(value: f64, allowed: f64[], path: string, problems: string[]): void {
  if (allowed.includes(value)) return;
  const texts: string[] = [];
  for (let i = 0; i < allowed.length; i++) texts.push(short(allowed[i]));
  problems.push(path + ": must be one of " + texts.join(", ") + ", got " + short(value));
}
