// run: quiet, deadline 500, because a request that takes more than a second is a fault of its own
import process from "node:process";
import { awsFaults, AwsGround } from "./aws.ts";
import { faultsOf } from "./scenario.ts";

// the tests cannot break the connection to an external service
const elsewhere = process.env.TSMQ_TEST_AWS_ENDPOINT ? "TSMQ_TEST_AWS_ENDPOINT names another service" : undefined;
// the SDK takes a millisecond of CPU for each request, and a message is five requests; a machine without a free core would be a fault of its own
faultsOf("aws", elsewhere, awsFaults, () => AwsGround.open(), { injecting: 1, pace: 6 });
