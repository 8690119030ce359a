// The upstream of docker-compose.yaml: answers with what it saw.
import { createServer } from "node:http";

const server = createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(`${JSON.stringify({ method: request.method, url: request.url, headers: request.headers }, null, 2)}\n`);
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log(`listening on ${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
