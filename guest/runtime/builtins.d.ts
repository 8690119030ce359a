// Builtins of the AssemblyScript runtime that its own declarations leave out; for editors and tsc only.
declare function __new(size: usize, id: u32): usize;
declare function __collect(): void;
declare function __visit_globals(cookie: u32): void;
declare function __visit_members(object: usize, cookie: u32): void;
