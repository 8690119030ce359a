// The auth service of docker-compose.yaml: knows ann and bob by their authorization header.
import { createServer } from "node:http";

const USERS = new Set(["ann", "bob"]);

const server = createServer((request, response) => {
  if (request.url === "/healthy") return response.end("ok");
  const user = request.headers.authorization ?? "";
  response.statusCode = USERS.has(user) ? 200 : 401;
  response.end(USERS.has(user) ? user : "");
});
server.listen(Number(process.env.PORT ?? 8081), () => console.log(`listening on ${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
