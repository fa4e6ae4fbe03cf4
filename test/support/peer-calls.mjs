/**
 * `node peer-calls.mjs DIST SOCKET CALLS`: makes the calls of a JSON list [{method, request}], one after the other, as
 * whatever user and in whatever namespace it was started. Prints the answers, {ok} or {code}, as a JSON list.
 */
const [dist, socket, calls] = process.argv.slice(2);
const { connect } = await import(`${dist}/client/connect.js`);
const client = await connect({ socket, timeoutMs: 5_000 });

async function answerOf({ method, request }) {
  if (method === 'session') return (await firstOf(sessionWith(request))).reservation;
  if (method === 'watchReservations') return await firstOf(client.watchReservations());
  return await client[method](request);
}

function sessionWith(message) {
  const session = client.session();
  session.send(message);
  return session.messages;
}

async function firstOf(stream) {
  for await (const message of stream) return message;
}

const answers = [];
for (const call of JSON.parse(calls)) {
  answers.push(
    await answerOf(call).then(
      (ok) => ({ ok }),
      ({ code }) => ({ code }),
    ),
  );
}
process.stdout.write(JSON.stringify(answers));
process.exit(0);
