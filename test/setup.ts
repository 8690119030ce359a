// Before the tests: the one Envoy they share is fetched if need be, so that no test pays for it (or fetches it twice).
import { findEnvoy } from "../host/envoy/find.js";

export default async function setup(): Promise<void> {
  const envoy = await findEnvoy((line) => console.error(line));
  console.error(`tests run on ${envoy.source === "project" ? "the project's" : `${envoy.source}'s`} Envoy`);
}
