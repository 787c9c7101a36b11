// run: deadline 400
import process from "node:process";
import { awsFaults, AwsGround } from "./aws.ts";
import { faultsOf } from "./scenario.ts";

// between us and somebody else's service there is nothing that we could break
const elsewhere = process.env.TSMQ_TEST_AWS_ENDPOINT ? "TSMQ_TEST_AWS_ENDPOINT names another service" : undefined;
faultsOf("aws", elsewhere, awsFaults, () => AwsGround.open());
