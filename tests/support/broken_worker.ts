/** A worker whose receiver cannot be loaded. */
import { serveModule } from "../../src/port/host.ts";

serveModule(Promise.reject(new TypeError("the receiver is broken")));
