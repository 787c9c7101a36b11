import { say, told } from "../support/peer_side.ts";
import { live, type Place } from "./inside.ts";

for await (const place of told<Place>()) say(await live(place));
