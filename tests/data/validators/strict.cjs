// Compiles every schema of a folder in ajv's strict mode, and judges samples: node strict.cjs SCHEMAS SAMPLES
// A sample `conversation-event.full.json` belongs to `conversation-event.json`. The exit status counts what was refused.
const Ajv = require("ajv/dist/2020").default;
const fs = require("fs");
const [schemas, samples] = process.argv.slice(2);
const names = fs.readdirSync(schemas).filter((name) => name.endsWith(".json") && name !== "asyncapi.json");
let refused = 0;
let judged = 0;
for (const name of names) {
  try {
    const ajv = new Ajv({ strict: true, strictTypes: true, strictTuples: true });
    const validate = ajv.compile(JSON.parse(fs.readFileSync(`${schemas}/${name}`, "utf8")));
    const own = (sample) => sample.startsWith(`${name.slice(0, -4)}`) && sample.endsWith(".json");
    for (const sample of fs.readdirSync(samples).filter(own)) {
      judged += 1;
      if (!validate(JSON.parse(fs.readFileSync(`${samples}/${sample}`, "utf8")))) {
        refused += 1;
        console.log(`${sample}: ${ajv.errorsText(validate.errors)}`);
      }
    }
  } catch (error) {
    refused += 1;
    console.log(`${name}: ${error.message}`);
  }
}
console.log(`${names.length} schemas, ${judged} samples, ${refused} refused`);
process.exit(Math.min(refused, 100));
