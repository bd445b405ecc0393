/** Where the programs of a balancer meet. */

/** HAProxy's admin socket. */
export const adminSocket = '/run/haproxy/admin.sock';
/** Where lb-sync tells keepalived whether HAProxy can serve: `0`, otherwise `1`. */
export const readyFile = '/run/ha-web-haproxy';
