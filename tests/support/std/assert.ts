/** `@std/assert` from npm, which carries its code but not its types. */
// @ts-types="./assert.d.ts"
export * from "deno-std/assert/mod.js";
