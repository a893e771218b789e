//===- fake_cuda.h - How tests steer the GPU that does not exist -----------===//
#ifndef TXC_TEST_FAKE_CUDA_H
#define TXC_TEST_FAKE_CUDA_H

#include <atomic>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

// One of it is in the library; the pointer comes from its function fake_cuda().
struct FakeCuda {
  // What the machine is like.
  int devices = std::getenv("FAKE_CUDA_DEVICES") ? std::atoi(std::getenv("FAKE_CUDA_DEVICES")) : 1;
  int version = 13000, major = 9, minor = 0, multiprocessors = 132;
  std::string name = "NVIDIA H200";
  bool sharesMemory = false; // with other processes
  size_t totalBytes = size_t(1) << 30, freeBytes = size_t(900) << 20;
  // The result of a function by its name; 0: it works. With a count, that many
  // calls work first.
  std::map<std::string, int> fails;
  std::map<std::string, int> worksFirst;
  // Work that fails when the GPU comes to it, after so many commands; from then
  // on everything fails.
  int failsLater = 0, failsLaterAfter = 0;
  int algorithms = 3, bestAlgorithm = 1;
  bool libraryRefusesAlgorithms = false;
  // Whether it runs algorithms with other settings than those it proposes. Of the
  // clusters, one is fast, one does not write the last element, and one gives other
  // bits each time.
  bool runsNeighbours = false;
  int bestCluster = -1, clusterThatForgets = -1, clusterThatWavers = -1, bestOption = -1;

  // What was done.
  std::map<std::string, int> calls;
  std::vector<std::string> executed; // "kernel onehot", "matmul", "memset", ... in order
  std::vector<int> algorithmsUsed;
  std::vector<int> settingsUsed; // cluster and option of the last product
  std::vector<std::string> descriptions;            // of products, as the library sees them
  unsigned grid[3] = {}, block[3] = {}, shared = 0; // of the last launch
  int capturing = 0;

  // NCCL, which other threads ask too.
  std::atomic<int> asyncError{0}, communicators{0}, aborts{0};
};

#endif // TXC_TEST_FAKE_CUDA_H
