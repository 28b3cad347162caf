// The protocol of wsctl on Node's `ws`, the way its users write it.
import { WebSocketServer } from "ws";
import { MAX_MESSAGE_BYTES, admit, errorEnvelope, greeting, handle, startHeartbeat } from "./protocol.js";

const sessions = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  maxPayload: MAX_MESSAGE_BYTES,
  perMessageDeflate: false,
});

server.on("connection", (socket, request) => {
  const connection = admit(request.url);
  if (connection === null) {
    socket.send(errorEnvelope("AUTH_INVALID", "the token is refused"));
    socket.close(4001);
    return;
  }
  socket.connection = connection;
  let members = sessions.get(connection.sessionId);
  if (members === undefined) sessions.set(connection.sessionId, (members = new Set()));
  members.add(socket);

  const send = (text) => socket.send(text);
  const broadcast = (text) => {
    for (const member of members) member.send(text);
  };
  socket.on("message", (data, isBinary) => {
    if (isBinary) socket.close(1003);
    else handle(connection, data.toString(), send, broadcast);
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    members.delete(socket);
    if (members.size === 0) sessions.delete(connection.sessionId);
  });
  socket.send(greeting(connection));
});

startHeartbeat((visit) => {
  for (const socket of server.clients) {
    if (socket.connection !== undefined) {
      visit(
        socket.connection,
        (text) => socket.send(text),
        (code, reason) => socket.close(code, reason),
      );
    }
  }
});

server.on("listening", () => console.log(JSON.stringify({ port: server.address().port })));
