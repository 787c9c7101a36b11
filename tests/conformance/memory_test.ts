// run: waiting
import { describe } from "@std/testing/bdd";
import { memory } from "../../src/providers/memory/provider.ts";
import { share } from "../support/share.ts";
import { kit } from "./run.ts";

describe("conformance of memory", () => {
  const provider = memory();
  kit({ provider: () => provider }, { lanes: 6 });
});

describe("conformance of memory with a capacity", () => {
  const provider = memory({ capacity: 10 });
  kit({ provider: () => provider }, { which: share, lanes: 6 });
});
