// run: on bun
import { onEach } from "./grounds.ts";
import { nested } from "./nested.ts";

onEach("a bus", nested);
