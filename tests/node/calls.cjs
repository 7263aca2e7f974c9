// One call of one official Node client for each line of standard input. The first line tells, in JSON: client, endpoint,
// region, key, secret; each later one: product, version, action, said (nested), flat. Answers with a line: the body, or
// the code of a refusal. NODE_PATH says where the clients are.
'use strict';

const readline = require('readline');

function popCore(told) {
  const { RPCClient } = require('@alicloud/pop-core');
  return async (asked) => {
    const client = new RPCClient({
      endpoint: `http://${told.endpoint}`, accessKeyId: told.key, accessKeySecret: told.secret, apiVersion: asked.version,
    });
    return client.request(asked.action, asked.flat, { method: 'POST' });
  };
}

function generic(told) {
  const OpenApi = require('@alicloud/openapi-client');
  const { RuntimeOptions } = require('@alicloud/tea-util');
  const client = new OpenApi.default(config(told));
  return async (asked) => {
    const params = new OpenApi.Params({
      action: asked.action, version: asked.version, protocol: 'HTTP', pathname: '/', method: 'POST', authType: 'AK',
      style: 'RPC', reqBodyType: 'formData', bodyType: 'json',
    });
    const request = new OpenApi.OpenApiRequest({ query: asked.flat });
    return (await client.callApi(params, request, new RuntimeOptions({}))).body;
  };
}

// The typed client: the request is cast to its model, and the answer read back from its model.
function typed(told) {
  const ecs = require('@alicloud/ecs20140526');
  const { cast, toMap } = require('@alicloud/tea-typescript');
  const client = new ecs.default(config(told));
  return async (asked) => {
    const request = cast(asked.said, new ecs[`${asked.action}Request`]({}));
    const method = asked.action[0].toLowerCase() + asked.action.slice(1);
    return toMap((await client[method](request)).body);
  };
}

function config(told) {
  const { Config } = require('@alicloud/openapi-client');
  return new Config({
    accessKeyId: told.key, accessKeySecret: told.secret, endpoint: told.endpoint, protocol: 'HTTP', regionId: told.region,
  });
}

const CLIENTS = { 'pop-core': popCore, 'openapi-client': generic, ecs20140526: typed };

async function answer(call, line) {
  try {
    return { body: await call(JSON.parse(line)) };
  } catch (problem) {
    return { code: problem.code || String(problem), text: problem.message };
  }
}

async function main() {
  let call = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let said = {};
    if (call === null) {
      const told = JSON.parse(line);
      call = CLIENTS[told.client](told);
    } else {
      said = await answer(call, line);
    }
    process.stdout.write(`${JSON.stringify(said)}\n`);
  }
}

main();
