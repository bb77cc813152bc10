// Reads an AsyncAPI document with its own parser, references resolved: node asyncapi.cjs FILE
const { Parser, fromFile } = require("@asyncapi/parser");
const ERROR = 0;
fromFile(new Parser(), process.argv[2])
  .parse()
  .then(({ document, diagnostics }) => {
    const errors = diagnostics.filter((each) => each.severity === ERROR);
    for (const each of errors) console.log(`${each.path.join(".")}: ${each.message}`);
    const channels = document === undefined ? [] : document.allChannels().all();
    console.log(`${channels.length} channels, ${channels.filter((each) => each.messages().isEmpty()).length} empty`);
    process.exit(errors.length === 0 && channels.length > 0 ? 0 : 1);
  });
