/* `hold-packets QUEUE MS`: holds each packet that the packet filter queues here for so long, and lets it go on: netem's delay, for a kernel without
   netem. Packets meet it whether their connection is old or new, in either case in order. It ends with the container whose network this is. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Packets that wait at a time; beyond it the kernel lets them pass at once. */
#define HELD_MAX 65536

static int netlink;
static uint16_t queue;
static struct { uint32_t id; long due_ms; } held[HELD_MAX];

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct attribute { int type; const void *value; size_t length; };

/* One message about the queue, with one attribute or two. */
static void tell(int what, struct attribute first, struct attribute second) {
  struct { struct nlmsghdr head; struct nfgenmsg about; char attributes[64]; } message = {
    .head = { 0, NFNL_SUBSYS_QUEUE << 8 | what, NLM_F_REQUEST, 0, 0 },
    .about = { AF_UNSPEC, NFNETLINK_V0, htons(queue) },
  };
  char *at = message.attributes;
  for (int index = 0; index < 2; index++) {
    struct attribute each = index == 0 ? first : second;
    if (each.value == NULL) continue;
    struct nlattr head = { NLA_HDRLEN + each.length, each.type };
    memcpy(at, &head, sizeof head);
    memcpy(at + NLA_HDRLEN, each.value, each.length);
    at += NLA_HDRLEN + NLA_ALIGN(each.length);
  }
  message.head.nlmsg_len = at - (char *)&message;
  if (send(netlink, &message, message.head.nlmsg_len, 0) < 0) {
    perror("hold-packets");
    exit(1);
  }
}

static void bind_queue(void) {
  struct nfqnl_msg_config_cmd bind_command = { NFQNL_CFG_CMD_BIND, 0, htons(AF_INET) };
  struct nfqnl_msg_config_params params = { 0, NFQNL_COPY_META };
  uint32_t held_max = htonl(HELD_MAX - 1), flags = htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO);
  int bytes = 64 << 20, on = 1;
  setsockopt(netlink, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(netlink, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  struct attribute none = { 0, NULL, 0 };
  tell(NFQNL_MSG_CONFIG, (struct attribute){ NFQA_CFG_CMD, &bind_command, sizeof bind_command }, none);
  tell(NFQNL_MSG_CONFIG, (struct attribute){ NFQA_CFG_PARAMS, &params, sizeof params },
       (struct attribute){ NFQA_CFG_QUEUE_MAXLEN, &held_max, sizeof held_max });
  tell(NFQNL_MSG_CONFIG, (struct attribute){ NFQA_CFG_MASK, &flags, sizeof flags },
       (struct attribute){ NFQA_CFG_FLAGS, &flags, sizeof flags });
}

/* The packet's number, or 0 where the message is about something else. */
static uint32_t packet_of(struct nlmsghdr *message) {
  if (message->nlmsg_type == NLMSG_ERROR) {
    errno = -((struct nlmsgerr *)NLMSG_DATA(message))->error;
    perror("hold-packets");
    exit(1);
  }
  char *at = (char *)NLMSG_DATA(message) + NLMSG_ALIGN(sizeof(struct nfgenmsg)), *end = (char *)message + message->nlmsg_len;
  while (at < end) {
    struct nlattr *attribute = (struct nlattr *)at;
    if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR)
      return ntohl(((struct nfqnl_msg_packet_hdr *)(at + NLA_HDRLEN))->packet_id);
    at += NLA_ALIGN(attribute->nla_len);
  }
  return 0;
}

/* A container that ends takes its network cards along. */
static int has_card(void) {
  struct if_nameindex *cards = if_nameindex(), *card = cards;
  int found = 0;
  for (; card != NULL && card->if_index != 0; card++) found |= strcmp(card->if_name, "lo") != 0;
  if_freenameindex(cards);
  return found;
}

int main(int count, char **words) {
  if (count != 3) return fprintf(stderr, "usage: hold-packets QUEUE MS\n"), 2;
  queue = atoi(words[1]);
  long hold_ms = atol(words[2]);
  unsigned first = 0, next = 0;
  netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  bind_queue();
  puts("holding");
  fflush(stdout);
  for (;;) {
    for (; first != next && held[first % HELD_MAX].due_ms <= now_ms(); first++) {
      struct nfqnl_msg_verdict_hdr verdict = { htonl(NF_ACCEPT), htonl(held[first % HELD_MAX].id) };
      tell(NFQNL_MSG_VERDICT, (struct attribute){ NFQA_VERDICT_HDR, &verdict, sizeof verdict }, (struct attribute){ 0, NULL, 0 });
    }
    long left_ms = first == next ? 1000 : held[first % HELD_MAX].due_ms - now_ms();
    struct pollfd readable = { netlink, POLLIN, 0 };
    if (poll(&readable, 1, left_ms < 0 ? 0 : left_ms) <= 0) {
      if (first == next && !has_card()) return 0;
      continue;
    }
    static char buffer[1 << 16] __attribute__((aligned(NLMSG_ALIGNTO)));
    int length = recv(netlink, buffer, sizeof buffer, 0);
    for (struct nlmsghdr *message = (struct nlmsghdr *)buffer; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
      uint32_t id = packet_of(message);
      if (id == 0) continue;
      held[next % HELD_MAX].id = id;
      held[next++ % HELD_MAX].due_ms = now_ms() + hold_ms;
    }
  }
}
