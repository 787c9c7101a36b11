/** The worker of `bundled.ts`. */
import "../../workers/memory.ts";
