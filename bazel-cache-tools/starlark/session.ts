// What one run may spend, and whom it tells: the bounds that make hostile files harmless.
import { Fault, type Site } from "./errors.js";

/** Bounds of one run. */
export interface Budget {
  /** Tokens read, nodes evaluated, elements copied, text written (one step for 16 characters). */
  steps: number;
  /** Brackets and blocks within one another, calls within one another, lists within one another. */
  depth: number;
  /** UTF-16 units in one string. */
  characters: number;
  /** Elements made by one operation. */
  elements: number;
  /** UTF-16 units in the file. */
  source: number;
}

export const DEFAULT_BUDGET: Readonly<Budget> = {
  steps: 20_000_000,
  depth: 200,
  characters: 16 * 1024 * 1024,
  elements: 1024 * 1024,
  source: 16 * 1024 * 1024,
};

/** A problem is kept and printed by whoever hears it: a file of nothing but errors must not make millions. */
const PROBLEM_STEPS = 200;
const CHARACTERS_PER_STEP = 16;
/** For each piece of a text that is put together. */
export const PIECE_STEPS = 8;

// Evaluation is synchronous, so one ambient session serves: otherwise every operator and every method would carry it.
let current: Session | undefined;

/** One run's account. */
export class Session {
  steps: number;
  calls = 0;
  /** The call sites that are open, the outermost first. */
  readonly stack: Site[] = [];
  readonly #told = new Set<object>();

  constructor(
    readonly budget: Budget,
    readonly tell: (message: string, at: Site) => void,
  ) {
    this.steps = budget.steps;
  }

  /** Runs `work` on this account. */
  enter<T>(work: () => T): T {
    const before = current;
    current = this;
    try {
      return work();
    } finally {
      current = before;
    }
  }

  problem(message: string, at: Site): void {
    spend(PROBLEM_STEPS);
    this.tell(message, at);
  }

  /** Tells of a problem once for each `node`, however often that is evaluated. */
  problemOnce(node: object, message: string, at: Site): void {
    if (this.#told.has(node)) return;
    this.#told.add(node);
    this.problem(message, at);
  }
}

/** The session of the run that is going on. */
export function session(): Session | undefined {
  return current;
}

/** Pays for work. Outside of a run (a host that looks at values afterwards) everything is free. */
export function spend(steps: number): void {
  if (current === undefined) return;
  current.steps -= steps;
  if (current.steps < 0) throw new Fault(`evaluation takes more than ${current.budget.steps} steps`, true);
}

/** Pays for `count` new elements before they are made. */
export function spendElements(count: number): number {
  checkElements(count);
  spend(Math.max(0, count));
  return count;
}

/** Pays for one more in `items`, where their number is not known beforehand. */
export function spendElement(items: readonly unknown[]): void {
  checkElements(items.length);
  spend(1);
}

function checkElements(count: number): void {
  const limit = current?.budget.elements ?? DEFAULT_BUDGET.elements;
  if (count > limit) throw new Fault(`more than ${limit} elements`);
}

/** Pays for a string of `length` before it is made. */
export function spendText(length: number): void {
  checkText(length);
  spend(Math.floor(length / CHARACTERS_PER_STEP));
}

/** Refuses a string of that `length`. */
export function checkText(length: number): void {
  const limit = current?.budget.characters ?? DEFAULT_BUDGET.characters;
  if (length > limit) throw new Fault(`a string of more than ${limit} characters`);
}

/** Pays for a search for `needle` in `text`, which in the worst case compares each with each. */
export function spendSearch(text: string, needle: string): void {
  spend(Math.floor((text.length * Math.max(1, needle.length)) / 1024));
}

/** A text that is put together from pieces, and paid for as it grows. */
export class Pieces {
  readonly #pieces: string[] = [];
  #length = 0;

  add(piece: string): void {
    const before = this.#length;
    this.#length += piece.length;
    checkText(this.#length);
    spend(Math.floor(this.#length / CHARACTERS_PER_STEP) - Math.floor(before / CHARACTERS_PER_STEP));
    this.#pieces.push(piece);
  }

  text(): string {
    return this.#pieces.join("");
  }
}

/** Guards walks through values, which may hold themselves. */
export function checkDepth(depth: number): void {
  const limit = current?.budget.depth ?? DEFAULT_BUDGET.depth;
  if (depth > limit) throw new Fault(`nested more than ${limit} deep`);
}
