// Asks a door as a user of OpenAI's client for JavaScript would, and prints what that user gets, a line of JSON a case.
// node ask.mjs <base url> <file of cases: [{name, key, body, headers, timeout_s, max_retries}]>
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [baseURL, file] = process.argv.slice(2);

async function asked({ key, body, headers, timeout_s, max_retries }) {
  const client = new OpenAI({ baseURL, apiKey: key, maxRetries: max_retries ?? 0, timeout: (timeout_s ?? 60) * 1000 });
  try {
    if (!body.stream) {
      const found = await client.chat.completions.create(body, { headers });
      const [choice] = found.choices;
      return { raised: "", status: 200, code: choice.finish_reason, text: choice.message.content };
    }
    let text = "", code = "";
    for await (const chunk of await client.chat.completions.create(body, { headers })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      code = chunk.choices[0]?.finish_reason ?? code;
    }
    return { raised: "", status: 200, code, text };
  } catch (error) {
    const told = error.headers ?? new Headers();
    return {
      raised: error.constructor.name, status: error.status ?? 0, code: error.code ?? "", param: error.param ?? "",
      is_final: told.get("x-should-retry") === "false", wait: told.get("retry-after") ?? "",
    };
  }
}

for (const each of JSON.parse(readFileSync(file, "utf8"))) {
  console.log(JSON.stringify({ name: each.name, ...(await asked(each)) }));
}
