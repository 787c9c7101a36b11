import { describe } from "@std/testing/bdd";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { kit } from "./run.ts";

describe("conformance of ipc", () => kit({ provider: () => ipc() }));
