// Runs TypeScript samples: each line of standard input is JSON with source and env; prints a line for each: what it
// wrote (out, err) and the code it would exit with. With `check` instead of source, compiles these sources with every
// check of the compiler and prints what is wrong. NODE_PATH says where the clients and the compiler are.
'use strict';

const path = require('path');
const readline = require('readline');
const ts = require('typescript');

const OPTIONS = {
  module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2020, esModuleInterop: true, strict: true, noEmit: true,
  skipLibCheck: true, types: ['node'], typeRoots: [path.join(process.env.NODE_PATH, '@types')],
  baseUrl: process.env.NODE_PATH, paths: { '*': ['*'] },
};

function run({ source, env }) {
  const written = { out: '', err: '', code: 0 };
  const { outputText } = ts.transpileModule(source, { compilerOptions: { ...OPTIONS, noEmit: false } });
  return new Promise((done) => {
    const write = (name) => (text) => {
      written[name] += `${text instanceof Error ? text.stack : text}\n`;
      setImmediate(() => done({ ...written, code: fake.exitCode }));
    };
    const fake = { env, exitCode: 0 };
    new Function('require', 'exports', 'process', 'console', outputText)(
      require, {}, fake, { log: write('out'), error: write('err') },
    );
  });
}

function check(files) {
  const program = ts.createProgram(files, OPTIONS);
  const found = ts.getPreEmitDiagnostics(program);
  return found.map((each) => ts.flattenDiagnosticMessageText(each.messageText, '\n'));
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    const answered = asked.check ? check(asked.check) : await run(asked);
    process.stdout.write(`${JSON.stringify(answered)}\n`);
  }
}

main();
