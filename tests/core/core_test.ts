import { describe } from "@std/testing/bdd";
import { casesOf } from "../../src/conformance/case_list.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { register } from "../conformance/run.ts";
import { CORE } from "./subjects.ts";

describe("core", () => {
  const provider = memory();
  register(casesOf(CORE, { provider: () => provider }));
});
