// Asks each question of a file, four at a time, and prints each outcome as a line of JSON once it is there.
import { readFileSync } from "node:fs";
import { ChatService } from "./chat_service.mjs";

const [brokers, events, audited, path] = process.argv.slice(2);
const questions = JSON.parse(readFileSync(path, "utf8"));
const service = new ChatService(brokers, { events, audited });
await service.start();

async function askOneAfterTheOther() {
  for (let event = questions.shift(); event !== undefined; event = questions.shift()) {
    const { action, response } = await service.ask(event, { timeoutMs: 15000 });
    console.log(JSON.stringify({ event_id: event.event_id, action, answered: response?.event_id }));
  }
}

await Promise.all([1, 2, 3, 4].map(askOneAfterTheOther));
await service.close();
