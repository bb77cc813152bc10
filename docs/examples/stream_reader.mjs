// A reader of streamed answers: what it shows while the model writes, and what the response makes of it.
//
//     npm install kafkajs
//     node stream_reader.mjs localhost:9092 "What can I cook with leeks?"

import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";

const GRACE_MS = 30000; // how long after the event's deadline the response is awaited

/** Return how a token stands to another one; `unknown`: they cannot be compared. */
export function order(token, other) {
  if (token.generation === other.generation && token.producer_id !== other.producer_id) return "unknown";
  for (const name of ["generation", "epoch", "run"]) {
    if (token[name] !== other[name]) return token[name] > other[name] ? "higher" : "lower";
  }
  return "same";
}

/**
 * One answer, by its audit id: give it every record, in the partition's order, and then the response's text.
 *
 * A reader that began only after the event was written may have missed who opened: it shows the response alone.
 */
export class StreamedAnswer {
  shown = "";
  isWaiting; // whether nothing more is shown until the response
  #highest;
  #next = 1;

  constructor({ isFromStart = true } = {}) {
    this.isWaiting = !isFromStart;
  }

  /** Return the text to show after a record; empty if it changes nothing. */
  take(record) {
    if (this.isWaiting) return "";
    const stands = this.#highest === undefined ? "higher" : order(record.token, this.#highest);
    if (record.kind === "opened") {
      if (stands === "unknown") this.isWaiting = true; // the response decides
      else if (stands === "higher") this.#highest = record.token;
      return "";
    }
    const sequence = record.sequence ?? 0;
    // Nobody opened it, somebody later did, or it was had already.
    if (this.#highest === undefined || stands !== "same" || sequence < this.#next) return "";
    if (sequence > this.#next) {
      this.isWaiting = true; // a gap
      return "";
    }
    this.#next += 1;
    this.shown += record.text ?? "";
    return record.text ?? "";
  }

  /** Return the text that the response adds; or, if `isReplacing`, the text that takes the place of what was shown. */
  end(response) {
    this.isWaiting = true;
    const isReplacing = !response.startsWith(this.shown);
    const text = isReplacing ? response : response.slice(this.shown.length);
    this.shown = response;
    return { text, isReplacing };
  }
}

/** Return the text of a response. */
export function textOf(response) {
  return response.parts.map((part) => part.text || part.code || "").join("\n\n");
}

/** Follows one event from before it is written until its response, or until it is overdue. */
export class StreamReader {
  #topics;
  #producer;
  #consumers = [];
  #admin;
  #kafkajs;
  #kafka;
  #answers = new Map();
  #event;
  #show = () => {};
  #ended = () => {};

  constructor(kafkajs, brokers, { events, audited, stream } = {}) {
    this.#kafkajs = kafkajs;
    this.#kafka = new kafkajs.Kafka({ brokers: [brokers], logLevel: kafkajs.logLevel.ERROR });
    this.#topics = {
      events: events ?? "conversations.events",
      audited: audited ?? "conversations.audited",
      stream: stream ?? "conversations.stream",
    };
    this.#producer = this.#kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
    this.#admin = this.#kafka.admin();
  }

  /** Begin to read, before the event is written, so that no `opened` is missed. */
  async start() {
    await Promise.all([this.#producer.connect(), this.#admin.connect()]);
    for (const topic of [this.#topics.stream, this.#topics.audited]) {
      // kafkajs reads in groups only: one group a process. Only committed records count.
      const options = { groupId: `stream-${randomUUID()}`, readUncommitted: false, maxWaitTimeInMs: 50 };
      const consumer = this.#kafka.consumer(options);
      this.#consumers.push(consumer);
      await consumer.connect();
      const ends = await this.#admin.fetchTopicOffsets(topic);
      await consumer.subscribe({ topic, fromBeginning: false });
      const joined = new Promise((resolve) => consumer.on("consumer.group_join", resolve));
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ message }) => this.#take(topic, JSON.parse(message.value.toString())),
      });
      await joined;
      for (const { partition, high } of ends) consumer.seek({ topic, partition, offset: high });
    }
  }

  /**
   * Send an event, and call `show` with each text and whether it takes the place of everything before it.
   *
   * Return false if there is no response in time: send the same event again, under the same id.
   */
  async ask(event, show, { deadlineMs = 60000 } = {}) {
    [this.#event, this.#show] = [event, show];
    this.#answers.clear();
    const ended = new Promise((resolve) => (this.#ended = resolve));
    const headers = { "content-type": "application/json", "sluicegate-schema": "conversation-event/1" };
    const messages = [{ key: event.conversation_id, value: JSON.stringify(event), headers }];
    await this.#producer.send({ topic: this.#topics.events, acks: -1, messages });
    const timer = setTimeout(() => this.#ended(false), deadlineMs + GRACE_MS);
    const isAnswered = await ended;
    clearTimeout(timer);
    this.#event = undefined;
    return isAnswered;
  }

  async close() {
    const clients = [...this.#consumers, this.#producer, this.#admin];
    await Promise.all(clients.map((client) => client.disconnect()));
  }

  #take(topic, value) {
    if (value.event_id !== this.#event?.event_id) return;
    if (!this.#answers.has(value.audit_id)) this.#answers.set(value.audit_id, new StreamedAnswer());
    const answer = this.#answers.get(value.audit_id);
    if (topic === this.#topics.stream) {
      const text = answer.take(value);
      if (text) this.#show(text, false);
    } else if (!value.duplicate_of) {
      // A second copy's names the first answer, which stands.
      const { text, isReplacing } = answer.end(textOf(value));
      this.#show(text, isReplacing);
      this.#ended(true);
    }
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { default: kafkajs } = await import("kafkajs");
  const reader = new StreamReader(kafkajs, process.argv[2]);
  await reader.start();
  const event = {
    event_id: randomUUID(),
    conversation_id: randomUUID(),
    tenant_id: "my-tenant",
    messages: [{ role: "user", parts: [{ type: "text", text: process.argv[3] }] }],
    user: { age_band: "adult", age_verified: true, locale: "en", region: "GB" },
    stream: true,
  };
  const isAnswered = await reader.ask(event, (text, isReplacing) => {
    if (isReplacing) process.stdout.write("\n--- the answer is another one ---\n");
    process.stdout.write(text);
  });
  if (!isAnswered) console.error("no answer in time: ask again with the same event id");
  process.stdout.write("\n");
  await reader.close();
}
