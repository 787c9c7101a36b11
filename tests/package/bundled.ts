/** A program for bundles. */
import { Bus, memory } from "../../mod.ts";

try {
  await using bus = await Bus.open(memory());
  console.log(bus.health().state);
} catch (error) {
  console.log(JSON.stringify(error));
}
