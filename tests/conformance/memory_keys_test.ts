// run: waiting
import { describe } from "@std/testing/bdd";
import { memory } from "../../src/providers/memory/provider.ts";
import { sample } from "../support/share.ts";
import { kit } from "./run.ts";

describe("conformance of memory with keys", () => {
  const provider = memory();
  // an eighth of the cases under each runtime: the tests of keys run on both
  kit({
    provider: () => provider,
    options: { keys: [{ id: "k", secret: crypto.getRandomValues(new Uint8Array(32)) }], encrypt: true },
    skip: {
      "inspection: dead.retry() puts the original items of dead letters back, and dead.purge() removes dead letters":
        "it puts an item without a signature",
    },
  }, { which: sample });
});
