// A chat service that waits for its answers: one request in, exactly one outcome out.
//
//     npm install kafkajs
//     node chat_service.mjs localhost:9092 "What can I cook with leeks?"

import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";
import kafkajs from "kafkajs";

const SEEN_MAX = 10000;
const TRIES_MAX = 5;
const RETRY_MS = 1000;
const SORRY = "I can't give you an answer to this right now.";
const SHOWN = new Set(["published", "redacted", "safe_completed", "refused", "withheld"]);
const ASK_AGAIN = /^(V01|deadline|overloaded|rate_limited)$|_(timeout|unreachable|overloaded|unparsable|crashed)$/;

/**
 * Return the event of one question.
 *
 * Say `age_band` and `age_verified` in `user` if you have checked the age; without them, the user is taken for a teen.
 */
export function eventOf(text, { tenant, conversation, eventId = randomUUID() }) {
  return {
    event_id: eventId,
    conversation_id: conversation,
    tenant_id: tenant,
    messages: [{ role: "user", parts: [{ type: "text", text }] }],
    user: { locale: "en", region: "GB" },
    created_ms: Date.now(),
  };
}

/** Return whether the same event may be sent again: it was withheld for a failure, not by a verdict. */
export function mayAskAgain(response) {
  if (response.action !== "withheld" || response.duplicate_of) return false;
  return response.reason_codes.some((code) => ASK_AGAIN.test(code));
}

/** Return what the user is shown. An action that is not known here is taken for `withheld`. */
export function outcomeOf(response) {
  if (response.action === "rejected") {
    console.error(`event ${response.event_id} is invalid: ${response.detail}`); // a bug of this service
    return { action: "rejected", text: SORRY, response };
  }
  if (response.duplicate_of) return { action: "answered_before", text: SORRY, response };
  if (!SHOWN.has(response.action)) return { action: "withheld", text: SORRY, response };
  const text = response.parts.map((part) => part.text ?? part.code ?? "").join("\n\n");
  return { action: response.action, text, response };
}

export class ChatService {
  #events;
  #audited;
  #producer;
  #consumer;
  #admin;
  #seen = new Map();
  #waiting = new Map();

  constructor(brokers, { events = "conversations.events", audited = "conversations.audited" } = {}) {
    const kafka = new kafkajs.Kafka({ brokers: [brokers], logLevel: kafkajs.logLevel.ERROR });
    [this.#events, this.#audited] = [events, audited];
    this.#producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    // kafkajs reads in groups only: one group a process, so that each reads every answer. Only committed ones count.
    this.#consumer = kafka.consumer({ groupId: `chat-${randomUUID()}`, readUncommitted: false, maxWaitTimeInMs: 100 });
    this.#admin = kafka.admin();
  }

  /** Begin to read, before anything is sent. */
  async start() {
    await Promise.all([this.#producer.connect(), this.#consumer.connect(), this.#admin.connect()]);
    const ends = await this.#admin.fetchTopicOffsets(this.#audited);
    await this.#consumer.subscribe({ topic: this.#audited, fromBeginning: false });
    const joined = new Promise((resolve) => this.#consumer.on("consumer.group_join", resolve));
    await this.#consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => this.#keep(JSON.parse(message.value.toString())),
    });
    await joined;
    for (const { partition, high } of ends) this.#consumer.seek({ topic: this.#audited, partition, offset: high });
  }

  /** Send an event, wait for its outcome, and ask again with the same event id where that may help. */
  async ask(event, { timeoutMs = 30000 } = {}) {
    for (let number = 1; number <= TRIES_MAX; number += 1) {
      await this.#send(event);
      const response = await this.#wait(event.event_id, timeoutMs);
      if (response === undefined) continue; // no answer in time: the same event, under the same id
      if (number === TRIES_MAX || !mayAskAgain(response)) return outcomeOf(response);
      this.#seen.delete(event.event_id);
      const restMs = Math.max(RETRY_MS, response.retry_after_ms ?? 0);
      await new Promise((resolve) => setTimeout(resolve, restMs));
    }
    return { action: "timeout", text: SORRY };
  }

  async close() {
    await Promise.all([this.#consumer.disconnect(), this.#producer.disconnect(), this.#admin.disconnect()]);
  }

  #send(event) {
    const headers = {
      "content-type": "application/json",
      "sluicegate-schema": "conversation-event/1",
      "x-correlation-id": event.event_id,
    };
    const messages = [{ key: event.conversation_id, value: JSON.stringify(event), headers }];
    return this.#producer.send({ topic: this.#events, acks: -1, messages });
  }

  #wait(eventId, timeoutMs) {
    if (this.#seen.has(eventId)) return Promise.resolve(this.#seen.get(eventId));
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#end(eventId, undefined), timeoutMs);
      this.#waiting.set(eventId, { resolve, timer });
    });
  }

  #end(eventId, response) {
    const waiting = this.#waiting.get(eventId);
    if (waiting === undefined) return;
    this.#waiting.delete(eventId);
    clearTimeout(waiting.timer);
    waiting.resolve(response);
  }

  #keep(response) {
    const id = response.event_id;
    if (response.duplicate_of && this.#seen.has(id)) return; // the first outcome stands
    this.#seen.set(id, response);
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value);
    this.#end(id, response);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const service = new ChatService(process.argv[2]);
  await service.start();
  const event = eventOf(process.argv[3], { tenant: "my-tenant", conversation: randomUUID() });
  const outcome = await service.ask(event);
  console.log(`${outcome.action}: ${outcome.text}`);
  await service.close();
}
