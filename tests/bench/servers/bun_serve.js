// The protocol of wsctl on Bun's own WebSocket server, with its native publish and subscribe.
import { MAX_MESSAGE_BYTES, admit, errorEnvelope, greeting, handle, startHeartbeat } from "./protocol.js";

const sockets = new Set();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const connection = admit(request.url);
    if (server.upgrade(request, { data: { connection } })) return undefined;
    return new Response("this is a WebSocket endpoint\n", { status: 426 });
  },
  websocket: {
    maxPayloadLength: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    open(socket) {
      const connection = socket.data.connection;
      if (connection === null) {
        socket.send(errorEnvelope("AUTH_INVALID", "the token is refused"));
        socket.close(4001);
        return;
      }
      sockets.add(socket);
      socket.subscribe(connection.sessionId);
      socket.send(greeting(connection));
    },
    message(socket, data) {
      const connection = socket.data.connection;
      if (connection === null) return;
      if (typeof data !== "string") {
        socket.close(1003);
        return;
      }
      handle(
        connection,
        data,
        (text) => socket.send(text),
        (text) => server.publish(connection.sessionId, text),
      );
    },
    close(socket) {
      sockets.delete(socket);
    },
  },
});

startHeartbeat((visit) => {
  for (const socket of sockets) {
    visit(
      socket.data.connection,
      (text) => socket.send(text),
      (code, reason) => socket.close(code, reason),
    );
  }
});

console.log(JSON.stringify({ port: server.port }));
