// Before the tests: the one Envoy they share is fetched and the probes of the traces are built if need be, so that no test pays for it (or does it twice).
import { findEnvoy } from "../host/envoy/find.js";
import { buildProbes } from "./conformance/probes.js";

export default async function setup(): Promise<void> {
  const envoy = await findEnvoy((line) => console.error(line));
  await buildProbes();
  console.error(`tests run on ${envoy.source === "project" ? "the project's" : `${envoy.source}'s`} Envoy`);
}
